"""What a local model cannot be read for is told before a run, and the layout that a study names is obeyed."""

import asyncio
from typing import Any

import pytest

from neuroscribe.errors import CapabilityError
from neuroscribe.llm.capabilities import Sampled, samples
from neuroscribe.llm.local import LocalLLM
from neuroscribe.simulate.stage import check_models, opened_simulators
from neuroscribe.study.sections import LLM_NEEDS
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


STUDY = tiny_study(
    explainers={
        name: {"answer": answer, "temperature": temperature, "kind": kind}
        for kind in (
            "token_pairs",
            "highlights",
            "logit_lens",
            "next_token",
            "phrase_summary",
            "token_summary",
        )
        for name, answer, temperature in ((kind, "line", 1.0), (f"{kind}_schema", "schema", 0.5))
    }
    | {
        "senses": {"groups": "random"},
        "output_tokens": {},
        "revision": {"of": "token_pairs"},
        "paraphrase": {"of": "token_pairs"},
        "auto": {},
    },
    paraphraser_llm={"provider": "openai", "model": "other"},
    simulators={
        kind: {"explainers": ["token_pairs"]}
        for kind in ("matching_words", "structured", "one_at_a_time", "embedding")
    },
    scorers={kind: {"explainers": ["token_pairs"]} for kind in ("detection", "fuzzing", "sensitivity")},
)
SPECS = [
    spec
    for spec in (*STUDY.explainers.values(), *STUDY.simulators.values(), *STUDY.scorers.values())
    if spec.needs in LLM_NEEDS
]


def test_every_kind_that_asks_a_model_for_answers_has_samples_of_its_questions() -> None:
    kinds = [
        kind
        for table in ("explainers", "simulators", "scorers")
        for kind in STUDY.known_kinds(table).values()
    ]
    asking = {kind for kind in kinds if kind.needs in ("reply", "next_token")}
    assert {type(spec) for spec in SPECS} == asking
    assert all(isinstance(spec, Sampled) for spec in SPECS)


def test_samples_have_an_instruction_and_mostly_a_worked_example_as_the_questions_have() -> None:
    for sample in samples(SPECS, 16):
        roles = "".join(message.role[0] for message in sample.messages)
        assert roles in ("su", "sua", "suau", "suaua")
        assert sum(len(message.content) for message in sample.messages) < 60


def test_samples_differ_where_a_server_may_take_one_and_not_the_other() -> None:
    found = samples(SPECS, 16)
    by_form = {(sample.temperature, sample.schema is None, len(sample.messages)) for sample in found}
    asked = {(1.0, True, 5), (0.5, False, 4), (0.0, True, 5), (0.0, True, 4), (0.0, False, 4)}
    # Sentences, revisions and paraphrases are asked for without an example.
    assert by_form == asked | {(0.0, True, 3), (1.0, True, 2)}
    assert len(found) == len(by_form)


def test_answers_of_samples_may_be_as_long_as_those_of_a_run() -> None:
    structured = [STUDY.simulators["structured"]]
    assert [sample.max_tokens for sample in samples(structured, 16)] == [64 + 16 * 21]
    assert [sample.max_tokens for sample in samples(SPECS, 16, "next_token")] == [1]
