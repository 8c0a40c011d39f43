"""The random-weights twin of a subject has its shape, and nothing that it learned."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from neuroscribe.errors import SubjectError
from neuroscribe.study.sections import ModelSpec
from neuroscribe.study.spec import SubjectSpec
from neuroscribe.testing.planted import LAYERS, NEURONS, save
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.tiny_types import VERIFIED
from resources.models.artefacts import Artefacts
from resources.models.randomised import load_randomised
from resources.models.subject import SubjectModels

CPU = torch.device("cpu")
LEFT_OUT = ("emu3", "mllama")
"""Types whose decoder, saved without the rest, transformers does not read back, trained or not."""
FAMILIES = ("gpt2", "llama", "qwen3", "gemma3_text", "mistral", "phi3", "gpt_neox", "opt", "falcon", "bloom")


def twin(folder: Path, dtype: str = "float32"):
    artefacts = Artefacts(folder.parent / "cache", hub=False)
    return load_randomised(
        ModelSpec(model=str(folder), dtype=dtype),  # type: ignore[arg-type]
        artefacts=artefacts,
        device=CPU,
    )


def shapes(model) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in model.named_parameters()}


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(each, marks=() if each in FAMILIES else pytest.mark.slow)
        for each in VERIFIED
        if each not in LEFT_OUT
    ],
)
def test_a_twin_of_any_family_has_the_shape_of_the_trained_model_and_other_weights(
    tmp_path: Path, family: str
) -> None:
    trained = random_subject(family, seed=1, **VERIFIED[family])
    trained.save_pretrained(tmp_path / "model")

    made = twin(tmp_path / "model")

    assert type(made) is type(trained)
    assert shapes(made) == shapes(trained)
    matrices = {name: weight for name, weight in trained.named_parameters() if weight.ndim > 1}
    own = dict(made.named_parameters())
    assert any(not torch.equal(own[name], weight) for name, weight in matrices.items())
    assert not made.training
    assert not any(weight.requires_grad for weight in own.values())


def test_a_twin_is_the_same_every_time_and_leaves_the_random_state_alone(tmp_path: Path) -> None:
    save(tmp_path / "model")
    torch.manual_seed(5)
    before = torch.get_rng_state()

    one, other = twin(tmp_path / "model"), twin(tmp_path / "model")

    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))
    weight = one.transformer.h[0].mlp.c_fc.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.1)  # GPT-2's own initialisation
    assert twin(tmp_path / "model", "bfloat16").dtype in (torch.bfloat16, torch.float32)


def test_no_tensor_of_the_trained_weights_is_read(tmp_path: Path) -> None:
    save(tmp_path / "model")
    before = twin(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    spoilt = {name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(file).items()}
    save_file(spoilt, file, metadata={"format": "pt"})

    after = twin(tmp_path / "model")

    assert all(torch.equal(*pair) for pair in zip(before.parameters(), after.parameters(), strict=True))


def test_a_folder_without_a_model_has_no_twin(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match=r"has no config\.json"):
        twin(tmp_path)


def test_a_randomised_subject_says_so_and_keeps_the_tokenizer(tmp_path: Path) -> None:
    save(tmp_path / "model")
    spec = SubjectSpec(
        model=str(tmp_path / "model"), dtype="float32", layers=LAYERS, neurons_per_layer=NEURONS
    )
    models = SubjectModels(device="cpu", cache_dir=str(tmp_path / "cache"), hub=False, batch_tokens=64)
    trained = models.open(spec)

    made = models.open(spec.model_copy(update={"randomised": True}))

    assert made.revision == f"{trained.revision}, randomised, seed 0"
    assert made.tokenizer.encode("red cat") == trained.tokenizer.encode("red cat")
    assert not torch.equal(made.model.lm_head.weight, trained.model.lm_head.weight)
