"""What a local model cannot be read for is told before a run, and the layout that a study names is obeyed."""

import asyncio
from typing import Any

import pytest

from neuroscribe.errors import CapabilityError
from neuroscribe.llm.local import LocalLLM
from neuroscribe.simulate.stage import check_models, opened_simulators
from neuroscribe.study.spec import Study
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study
from neuroscribe.testing.tokenizers import byte_tokenizer


class Local:
    """Opens one local model, whatever is asked for, and no encoder."""

    def __init__(self, family: str) -> None:
        model = random_subject(family, vocab_size=300)
        self.llm = LocalLLM(model, byte_tokenizer(), identity=family)

    def open(self, *_: Any, **__: Any) -> Any:
        return self.llm


def study(layout: str) -> Study:
    simulators = {"all_at_once": {"layout": layout, "explainers": ["token_list"]}}
    return tiny_study(llm={"provider": "local"}, explainers={"token_list": {}}, simulators=simulators)


@pytest.mark.parametrize(("family", "layout"), [("llama", "asked"), ("llama", "hidden"), ("bloom", "hidden")])
def test_a_local_model_that_can_be_read_passes(family: str, layout: str) -> None:
    asyncio.run(check_models(study(layout), llm=Local(family), encoders=Local(family)))


def test_a_local_model_that_cannot_be_read_is_refused_with_the_layout_that_would_do() -> None:
    with pytest.raises(CapabilityError, match=r'bloom .*set layout = "hidden"'):
        asyncio.run(check_models(study("asked"), llm=Local("bloom"), encoders=Local("bloom")))


@pytest.mark.parametrize("layout", ["asked", "hidden"])
def test_a_simulator_shows_the_layout_that_the_study_names(layout: str) -> None:
    local = Local("llama")
    opened = opened_simulators(
        study(layout), llm=local, encoders=local, calls=MemoryCalls(), progress=SilentProgress()
    )

    assert f"all at once, {layout} prompt" in asyncio.run(opened)["all_at_once"].identity
