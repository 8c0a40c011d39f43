from pathlib import Path

import pytest
import torch

from neuroscribe.architectures import down_projections
from neuroscribe.capture.hooks import check_projections
from neuroscribe.errors import CaptureError
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.verified import CHANGES, page, verified

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"


def test_more_than_fifty_types_are_tried():
    assert len(CHANGES) > 50


@pytest.mark.parametrize("model_type", sorted(CHANGES))
def test_the_captured_peaks_are_those_of_a_plain_pass(model_type: str):
    found = verified(model_type)
    assert found.difference == 0.0
    assert found.layers == (1 if model_type == "deepseek_v3" else 2)


def test_the_page_says_what_was_found():
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m neuroscribe.testing.verified > the page"


def test_a_layer_that_is_run_several_times_in_a_pass_is_refused():
    model = random_subject("hrm_text")
    with pytest.raises(CaptureError, match="called 6 times in one forward pass, expected once"):
        check_projections(model, down_projections(model), torch.arange(3, 9).reshape(1, 6))


def test_an_architecture_that_adds_positions_of_its_own_is_refused():
    model = random_subject("cpmant", prompt_length=3)
    with pytest.raises(CaptureError, match="reads 9 positions where 6 tokens were given"):
        check_projections(model, down_projections(model), torch.arange(3, 9).reshape(1, 6))
