from pathlib import Path

import pytest
import torch

from neuroscribe.errors import CaptureError
from neuroscribe.subject.hooks import check_sites
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.tiny_types import NOT_BUILT, REFUSED, VERIFIED
from neuroscribe.testing.verified import page, refusal, verified

PAGE = Path(__file__).parents[3] / "docs" / "architectures.md"
PARTLY_DENSE = {
    *("afmoe", "axk1", "axk2", "bailing_hybrid", "beam", "deepseek_v2", "deepseek_v3", "deepseek_v32"),
    *(
        "dots1",
        "dots3_note",
        "dots3_note_text",
        "ernie4_5_moe",
        "exaone_moe",
        "flint",
        "glm4_moe",
        "glm4_moe_lite",
    ),
    *("glm_moe_dsa", "hy_v3", "hy_v4", "jamba", "kimi_linear", "laguna", "lfm2_moe", "llama4", "llama4_text"),
    *("mimo_v2_flash", "nemotron_h"),
}
OTHER_LAYERS = {"longcat_flash": (0, 1, 2, 3), "mllama": (0, 2), "zamba": (1, 3), "zamba2": (1, 3)}


def test_every_causal_type_of_transformers_is_verified_refused_or_explained():
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    listed = [*VERIFIED, *REFUSED, *NOT_BUILT]
    assert sorted(listed) == sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert len(VERIFIED) >= 140


@pytest.mark.parametrize("model_type", sorted(VERIFIED))
def test_the_captured_peaks_are_those_of_a_plain_pass(model_type: str):
    found = verified(model_type)
    assert found.difference == 0.0
    assert found.largest > 0.0
    assert found.layers == ((0,) if model_type in PARTLY_DENSE else OTHER_LAYERS.get(model_type, (0, 1)))


@pytest.mark.parametrize("model_type", sorted(VERIFIED))
def test_a_neuron_has_two_sides_where_its_activation_is_a_product(model_type: str):
    found = verified(model_type)
    assert found.projection.gated == found.product


@pytest.mark.parametrize("model_type", sorted(REFUSED))
def test_a_type_without_neurons_to_capture_is_refused_with_the_reason(model_type: str):
    reasons = ("banks of experts", "hold mixer", "times in one forward pass", "positions where 24", "patches")
    assert sum(reason in refusal(model_type) for reason in reasons) == 1


def test_the_page_says_what_was_found():
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m neuroscribe.testing.verified > the page"


def test_a_layer_that_is_run_several_times_in_a_pass_is_refused():
    model = random_subject("hrm_text")
    with pytest.raises(CaptureError, match="called 6 times in one forward pass, expected once"):
        check_sites(model, MLP_NEURONS.sites(model), torch.arange(3, 9).reshape(1, 6))


def test_an_architecture_that_adds_positions_of_its_own_is_refused():
    model = random_subject("cpmant", prompt_length=3)
    with pytest.raises(CaptureError, match="reads 9 positions where 6 tokens were given"):
        check_sites(model, MLP_NEURONS.sites(model), torch.arange(3, 9).reshape(1, 6))
