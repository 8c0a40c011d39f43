from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from neuroscribe.errors import SubjectError
from neuroscribe.subject.architectures import NOT_TOKENS, backbone, down_projections, is_conv1d, mlp_module
from neuroscribe.testing.random_subjects import LAYERS, NEURONS, SIZES, WIDTH, random_subject, tiny_sizes
from neuroscribe.testing.tiny_types import VERIFIED

PLAIN = ("falcon", "gpt2", "gpt_neo", "gpt_neox", "gptj", "phi", "starcoder2")
GATED = ("gemma", "gemma2", "gemma3_text", "llama", "mistral", "olmo2", "phi3", "qwen2", "stablelm")
INLINE = ("bloom", "mpt", "opt")
FOUR_TIMES = ("bloom", "mpt")  # their MLPs are always four times as wide as the stream


@pytest.mark.parametrize("model_type", [*PLAIN, *GATED])
def test_the_down_projection_of_what_is_captured_is_the_mlps_output(model_type: str) -> None:
    model = random_subject(model_type)
    captured: dict[int, torch.Tensor] = {}
    errors: dict[int, float] = {}

    def keep(layer: int) -> Any:
        return lambda _module, inputs: captured.__setitem__(layer, inputs[0])

    def compare(layer: int, down: nn.Module) -> Any:
        return lambda _module, _inputs, output: errors.__setitem__(
            layer, (down(captured[layer]) - output).abs().max().item()
        )

    for layer, projection in down_projections(model).items():
        mlp = mlp_module(model, projection)
        assert mlp is not None
        mlp.register_forward_hook(compare(layer, projection.module))
        projection.module.register_forward_pre_hook(keep(layer))
    with torch.no_grad():
        backbone(model)(torch.arange(3, 15).reshape(2, 6))
    assert errors == {0: 0.0, 1: 0.0}


@pytest.mark.parametrize("model_type", [*PLAIN, *GATED, *INLINE])
def test_sizes_and_gates_are_read_from_the_modules(model_type: str) -> None:
    projections = down_projections(random_subject(model_type))
    assert list(projections) == [0, 1]
    for layer, projection in projections.items():
        assert projection.layer == layer
        assert projection.neurons == (4 * WIDTH if model_type in FOUR_TIMES else NEURONS)
        assert projection.width == WIDTH
        assert projection.gated == (model_type in GATED)
        assert is_conv1d(projection.module) == (model_type == "gpt2")


@pytest.mark.parametrize("model_type", INLINE)
def test_an_mlp_that_does_more_than_project_down_has_no_module_to_compare_with(model_type: str) -> None:
    model = random_subject(model_type)
    assert [mlp_module(model, projection) for projection in down_projections(model).values()] == [None, None]


@pytest.mark.parametrize("model_type", [*PLAIN, *GATED, *INLINE])
def test_the_backbone_holds_the_neurons_and_no_head(model_type: str) -> None:
    model = random_subject(model_type)
    modules = list(backbone(model).modules())
    assert all(projection.module in modules for projection in down_projections(model).values())
    assert model.get_output_embeddings() not in modules


def test_a_model_without_a_head_is_its_own_backbone() -> None:
    model = backbone(random_subject("gpt2"))
    assert backbone(model) is model
    assert down_projections(model)[1].path == "h.1.mlp.c_proj"


def test_a_mixture_of_experts_is_refused_and_its_experts_named() -> None:
    with pytest.raises(SubjectError, match=r"'mixtral' .* banks of experts \(model.layers.0.mlp.experts"):
        down_projections(random_subject("mixtral", num_local_experts=2))


def test_a_model_without_mlps_is_refused_and_its_blocks_described() -> None:
    with pytest.raises(SubjectError, match=r"'mamba' .* hold mixer \(MambaMixer\).* Choose a dense model"):
        down_projections(random_subject("mamba"))


def test_layers_of_experts_are_absent_beside_dense_ones() -> None:
    with torch.device("meta"):
        model = random_subject(
            "deepseek_v3", first_k_dense_replace=1, n_routed_experts=8, n_group=1, topk_group=1
        )
    assert list(down_projections(model)) == [0]


def test_the_vision_tower_is_not_the_text_stack() -> None:
    from transformers import AutoModelForImageTextToText, Gemma3Config

    names = ("hidden_size", "intermediate_size", "num_attention_heads")
    vision = {name: SIZES[name] for name in names} | {"num_hidden_layers": LAYERS + 1}
    text = {name: size for name, size in SIZES.items() if name != "n_layer"}
    config = Gemma3Config(text_config=text, vision_config=vision | {"image_size": 28, "patch_size": 14})
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    assert any("vision" in name and name.endswith("mlp.fc2") for name, _ in model.named_modules())
    paths = [projection.path for projection in down_projections(model).values()]
    assert paths == [f"model.language_model.layers.{layer}.mlp.down_proj" for layer in range(LAYERS)]


def test_a_block_with_two_mlps_counts_as_two_layers() -> None:
    with torch.device("meta"):
        model = random_subject("longcat_flash", zero_expert_num=2, moe_topk=2)
    paths = {layer: projection.path for layer, projection in down_projections(model).items()}
    assert paths == {
        2 * block + half: f"model.layers.{block}.mlps.{half}.down_proj" for block in (0, 1) for half in (0, 1)
    }


def test_blocks_that_wait_for_an_image_have_no_neurons_of_the_text() -> None:
    model = random_subject("mllama", text_config={"num_hidden_layers": 3, "cross_attention_layers": [1]})
    assert model.get_submodule("model.layers.1.mlp.down_proj") is not None
    assert list(down_projections(model)) == [0, 2]


def test_layers_that_share_an_mlp_are_layers_of_their_own() -> None:
    shared = random_subject("zamba", **VERIFIED["zamba"])
    first, second = down_projections(shared).values()
    assert first.module is not second.module
    assert first.module.weight is second.module.weight


def test_longer_towers_do_not_displace_the_text_stack() -> None:
    with torch.device("meta"):
        model = random_subject("gemma4", vision_config={"num_hidden_layers": LAYERS + 3})
    assert list(down_projections(model)) == list(range(LAYERS))
    assert all("language_model" in projection.path for projection in down_projections(model).values())


class ModelOf(nn.Module):
    """A dense model that states a type."""

    def __init__(self, model_type: str):
        super().__init__()
        self.config = SimpleNamespace(model_type=model_type)
        self.layers = nn.ModuleList([square_mlp(gated=False)])


def square_mlp(*, gated: bool) -> nn.Module:
    names = ("gate_proj", "up_proj", "down_proj") if gated else ("up_proj", "down_proj")
    return nn.ModuleDict({"mlp": nn.ModuleDict({name: nn.Linear(4, 4) for name in names})})


@pytest.mark.parametrize("model_type", sorted(NOT_TOKENS))
def test_a_model_that_reads_no_tokens_of_text_is_refused_by_its_type(model_type: str) -> None:
    with pytest.raises(SubjectError, match=f"'{model_type}' cannot be studied: it"):
        down_projections(ModelOf(model_type))


@pytest.mark.parametrize("model_type", ["bart", "marian", "t5"])
def test_an_encoder_decoder_is_refused_as_one(model_type: str) -> None:
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    config = AutoConfig.for_model(model_type, **tiny_sizes(AutoConfig.for_model(model_type).to_dict()))
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(config)
    with pytest.raises(SubjectError, match=f"'{model_type}' cannot be studied: it is an encoder-decoder"):
        down_projections(model)


@pytest.mark.parametrize("model_type", ["bart", "marian"])
def test_the_decoder_alone_of_an_encoder_decoder_is_studied(model_type: str) -> None:
    model = random_subject(model_type, **VERIFIED[model_type])
    assert all(".decoder." in projection.path for projection in down_projections(model).values())


@pytest.mark.parametrize("gated", [True, False])
def test_an_mlp_as_wide_as_the_stream_is_gated_only_with_a_gate(gated: bool) -> None:
    model = nn.ModuleDict({"layers": nn.ModuleList([square_mlp(gated=gated)])})
    assert down_projections(model)[0].gated == gated


def test_a_gate_within_a_module_of_its_own_counts() -> None:
    assert down_projections(random_subject("cpmant"))[0].gated


class PackedLinear(nn.Module):
    """A quantised projection: its weight is packed, its sizes are stated."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.zeros(in_features * out_features // 2, dtype=torch.uint8), False)


def test_a_quantised_projection_is_measured_by_its_stated_sizes() -> None:
    mlp = nn.ModuleDict(
        {"gate_proj": PackedLinear(4, 6), "up_proj": PackedLinear(4, 6), "down_proj": PackedLinear(6, 4)}
    )
    model = nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict({"mlp": mlp})])})
    (projection,) = down_projections(model).values()
    assert (projection.neurons, projection.width, projection.gated) == (6, 4, True)


def test_an_unknown_layout_is_refused_with_where_to_add_it() -> None:
    with pytest.raises(SubjectError, match=r"'Linear' .* no list named layers.*architectures.py"):
        down_projections(nn.Linear(2, 2))
