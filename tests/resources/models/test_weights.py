import json
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BartConfig,
    BartForCausalLM,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from neuroscribe.errors import ArtefactError, LLMError, SubjectError
from neuroscribe.study.sections import ModelSpec
from neuroscribe.study.spec import LLMSpec, SubjectSpec
from neuroscribe.text.token_bytes import tokenizer_facts
from resources.llm.opening import LocalModels
from resources.models.artefacts import Artefacts
from resources.models.conversions import converted
from resources.models.subject import SubjectModels
from resources.models.weights import (
    Warm,
    chosen_device,
    computing_dtype,
    load_causal_lm,
    load_tokenizer,
    revision_of,
)

VOCABULARY = 300
CPU = torch.device("cpu")


def tiny_gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_positions=32, n_embd=8, n_layer=2, n_head=2))


def tiny_llama() -> PreTrainedModel:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=8,
            intermediate_size=12,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=32,
        )
    )


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|begin|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat, the cat sat"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|begin|>", eos_token="<|end|>")


@pytest.fixture
def store(tmp_path: Path) -> Artefacts:
    return Artefacts(tmp_path / "cache", hub=False)


def saved(folder: Path, model: PreTrainedModel) -> Path:
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama])
def test_any_causal_lm_loads_by_the_same_path(tmp_path: Path, store: Artefacts, make) -> None:
    original = make()
    spec = ModelSpec(model=str(saved(tmp_path / "model", original)), dtype="float32")

    model = load_causal_lm(spec, artefacts=store, device=CPU)

    token_ids = torch.tensor([[5, 6, 7]])
    assert type(model) is type(original)
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert torch.equal(model(token_ids).logits, original.eval()(token_ids).logits)


def test_weights_take_the_dtype_of_the_spec(tmp_path: Path, store: Artefacts) -> None:
    spec = ModelSpec(model=str(saved(tmp_path / "model", tiny_llama())), dtype="bfloat16")

    half = spec.model_copy(update={"dtype": "float16"})

    assert load_causal_lm(half, artefacts=store, device=CPU).dtype == torch.float16
    # A processor without arithmetic for bfloat16 computes in float32.
    own = computing_dtype(torch.bfloat16, CPU)
    assert load_causal_lm(spec, artefacts=store, device=CPU).dtype == own
    assert own in (torch.bfloat16, torch.float32)
    assert computing_dtype(torch.bfloat16, torch.device("cuda")) == torch.bfloat16


def test_missing_weights_are_never_made_up(tmp_path: Path, store: Artefacts) -> None:
    file = saved(tmp_path / "model", tiny_llama()) / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})

    with pytest.raises(SubjectError, match=r"lacks 1 tensors .*layers\.1\.mlp\.down_proj\.weight"):
        load_causal_lm(ModelSpec(model=str(file.parent)), artefacts=store, device=CPU)


BART = BartConfig(
    vocab_size=VOCABULARY, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=12, decoder_ffn_dim=12, max_position_embeddings=32,
)  # fmt: skip


def test_an_encoder_decoder_is_refused_and_not_loaded_as_its_decoder(
    tmp_path: Path, store: Artefacts
) -> None:
    whole = ModelSpec(model=str(saved(tmp_path / "whole", BartForConditionalGeneration(BART))))
    with pytest.raises(SubjectError, match="'bart' cannot be used: it is an encoder-decoder"):
        load_causal_lm(whole, artefacts=store, device=CPU)

    decoder = ModelSpec(model=str(saved(tmp_path / "decoder", BartForCausalLM(BART))))
    assert type(load_causal_lm(decoder, artefacts=store, device=CPU)) is BartForCausalLM


def test_a_torn_file_is_a_subject_error(tmp_path: Path, store: Artefacts) -> None:
    file = saved(tmp_path / "model", tiny_llama()) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])

    with pytest.raises(SubjectError, match="holds a whole causal language model"):
        load_causal_lm(ModelSpec(model=str(file.parent)), artefacts=store, device=CPU)


def test_a_hub_model_without_a_hub_is_answered_with_the_remedies(store: Artefacts) -> None:
    spec = ModelSpec(model="nobody/no-such-model", revision="0" * 40)

    with pytest.raises(SubjectError, match=r"nobody/no-such-model.*no model hub was reached.*`artefact`"):
        load_tokenizer(spec, artefacts=store)


def test_the_revision_of_a_folder_changes_with_its_bytes_alone(tmp_path: Path, store: Artefacts) -> None:
    model = tiny_gpt2()
    specs = [ModelSpec(model=str(saved(tmp_path / name, model))) for name in ("one", "two")]
    first, second = (revision_of(model, spec, artefacts=store) for spec in specs)
    (tmp_path / "two" / "notes.txt").write_text("changed", encoding="utf-8")

    assert first == second
    assert revision_of(model, specs[1], artefacts=store) != first


def test_the_identity_of_a_folder_covers_what_links_bring_in(tmp_path: Path, store: Artefacts) -> None:
    model, elsewhere = tiny_gpt2(), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "part.safetensors").write_bytes(b"one")
    folder = saved(tmp_path / "model", model)
    spec = ModelSpec(model=str(folder))
    plain = revision_of(model, spec, artefacts=store)
    (folder / "parts").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")

    linked = revision_of(model, spec, artefacts=store)
    (elsewhere / "part.safetensors").write_bytes(b"two")

    assert len({plain, linked, revision_of(model, spec, artefacts=store)}) == 3


def test_a_folder_has_no_revisions(tmp_path: Path, store: Artefacts) -> None:
    spec = ModelSpec(model=str(saved(tmp_path / "model", tiny_gpt2())), revision="0" * 40)

    for load in (load_tokenizer, partial(load_causal_lm, device=CPU)):
        with pytest.raises(SubjectError, match=r"is a folder, and revision = .* remove `revision`"):
            load(spec, artefacts=store)


def own_rules() -> Tokenizer:
    """A tokenizer that splits every digit off, as few classes of transformers do, and merges line breaks."""
    pairs = [("1", "2"), ("12", "3"), ("3", "4"), ("Ċ", "Ċ")]
    names = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in pairs)]
    own = Tokenizer(models.BPE(vocab={name: place for place, name in enumerate(names)}, merges=pairs))
    own.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}|[^\p{N}]+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    own.decoder = decoders.ByteLevel()
    own.add_special_tokens(["<|endoftext|>"])
    return own


CLASSES = sorted({str(name) for name in TOKENIZER_MAPPING_NAMES.values() if name})


@pytest.mark.parametrize("name", CLASSES)
def test_the_token_ids_are_those_of_the_file_whatever_class_is_named(
    tmp_path: Path, store: Artefacts, name: str
) -> None:
    own = own_rules()
    own.save(str(tmp_path / "tokenizer.json"))
    settings = {"tokenizer_class": name, "eos_token": "<|endoftext|>", "add_prefix_space": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")

    facts = tokenizer_facts(load_tokenizer(ModelSpec(model=str(tmp_path)), artefacts=store))

    for text in ("1234\n\n", "a 12 b", "<|endoftext|>"):
        own.encode_special_tokens = True
        assert facts.encode(text) == own.encode(text, add_special_tokens=False).ids
    assert len(facts.token_bytes) == own.get_vocab_size()


def test_the_artefact_goes_before_the_model_id(store: Artefacts) -> None:
    with pytest.raises(ArtefactError, match="no artefact 'unpinned'"):
        load_tokenizer(ModelSpec(model="nobody/no-such-model", artefact="unpinned"), artefacts=store)


def test_a_file_that_is_no_gguf_is_told_and_leaves_nothing(tmp_path: Path, store: Artefacts) -> None:
    name = "smollm2-135m-instruct"
    store.cache.mkdir()
    fake = tmp_path / "fake.gguf"
    fake.write_bytes(b"not a model")

    with pytest.raises(ArtefactError, match=r"fake\.gguf cannot be converted"):
        converted(name, fake, artefacts=store)

    assert not list((store.cache / "converted").iterdir())


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(SubjectError, match=r"'tpu' is not on this machine, which has .*cpu"):
        chosen_device("tpu")
    assert chosen_device("cpu") == CPU
    assert chosen_device("auto").type in {"cuda", "mps", "cpu"}


def test_what_is_kept_warm_is_the_last_one_opened() -> None:
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    warm: Warm[str] = Warm()
    for name in ("a", "a", "b", "a"):
        assert warm.opened(name, lambda name=name: make(name)) == name
    assert made == ["a", "b", "a"]


def test_a_subject_brings_its_tokenizer_facts_and_stays_warm(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny_llama())
    spec = SubjectSpec(
        model=str(folder), layers=2, neurons_per_layer=12, prefix_token="<|begin|>", dtype="float32"
    )
    models = SubjectModels(device="cpu", cache_dir=str(tmp_path / "cache"), hub=False, batch_tokens=64)

    subject = models.open(spec)

    assert subject.prefix_ids == (0,)
    assert subject.batch_tokens == 64
    assert subject.dtype == torch.float32
    assert subject.revision.startswith("sha256:")
    assert subject.tokenizer is models.tokenizer(spec)
    assert models.open(spec) is subject


def test_a_prefix_that_is_no_special_token_is_refused_with_those_there_are(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny_llama())
    spec = SubjectSpec(model=str(folder), layers=2, neurons_per_layer=12, prefix_token="<bos>")

    with pytest.raises(SubjectError, match=r"no special token '<bos>'.*<\|begin\|>, <\|end\|>"):
        SubjectModels(device="cpu", cache_dir=str(tmp_path / "cache"), hub=False).open(spec)


def test_a_local_llm_names_model_revision_dtype_and_style(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny_gpt2())
    models = LocalModels(device="cpu", cache_dir=str(tmp_path / "cache"), hub=False)

    llm = models.open(LLMSpec(model=str(folder), dtype="float32", prompt_style="completion"))

    assert llm.identity.startswith(f"{folder}@sha256:")
    assert llm.identity.endswith("float32 (completion)")


def test_weights_that_are_asked_in_two_styles_are_loaded_once(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny_gpt2())
    models = LocalModels(device="cpu", cache_dir=str(tmp_path / "cache"), hub=False)
    spec = LLMSpec(model=str(folder), dtype="float32", prompt_style="completion")

    completing = models.open(spec)
    chatting = models.open(spec.model_copy(update={"prompt_style": "chat"}))

    assert models.open(spec) is completing
    assert vars(chatting)["_model"] is vars(completing)["_model"]
    assert chatting.identity == completing.identity.replace("(completion)", "(chat)")


def test_an_llm_that_cannot_be_had_is_an_llm_error(tmp_path: Path) -> None:
    models = LocalModels(device="cpu", cache_dir=str(tmp_path / "cache"), hub=False)

    with pytest.raises(LLMError, match="nobody/no-such-model"):
        models.open(LLMSpec(model="nobody/no-such-model"))
