"""What the declarations of stages promise to those that read them."""

from typing import Any

import pytest

from neuroscribe.judge.excerpts import Excerpt
from neuroscribe.judge.judging import AskingJudge, Judging
from neuroscribe.judge.prompts import prompt_identity
from neuroscribe.judge.questions import Question
from neuroscribe.kinds import KnownStudy
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES, TABLES, stage_version, stages_of, upstream_of

JUDGES = [kind for kind in KnownStudy.known_kinds("scorers").values() if issubclass(kind, Judging)]


def study(*scorers: str) -> Study:
    who: dict[str, Any] = {"explainers": ["token_list"]}
    others = {"ablation": {"simulators": ["embedding"]}, "steering": {"explainers": ["promotes"]}}
    named = {kind: others.get(kind, who) for kind in scorers}
    output = {"promotes": {}} if "steering" in scorers else {}
    return KnownStudy.model_validate(
        {
            "name": "mine",
            "description": "two layers",
            "subject": {"model": "m", "layers": 2, "neurons_per_layer": 24},
            "corpus": {"files": "x.txt", "sequences": 100},
            "llm": {"model": "m"},
            "explainers": {"token_list": {}, **output},
            "simulators": {"embedding": who},
            "scorers": named,
        }
    )


def test_no_stage_reads_itself_or_a_later_one():
    names = list(STAGES)
    for place, stage in enumerate(STAGES.values()):
        assert set(stage.reads) <= set(names[:place])


def test_layers_are_captured_together_and_explained_one_by_one():
    layered = {stage.name: stage.phase for stage in STAGES.values() if stage.per_layer}
    assert set(STAGES) - set(layered) == {"corpus", "encoded_corpus", "neuron_dataset"}
    assert [name for name, phase in layered.items() if phase == "capture"] == [
        "activations", "neuron_records",
    ]  # fmt: skip
    sampled = [name for name, phase in layered.items() if phase == "sample"]
    assert sampled == ["predictability", "sampled_activations", "token_lookup"]
    assert [name for name, phase in layered.items() if phase == "explain"] == [
        "connections", "effects", "explanations", "simulations", "judgements", "ablations", "sentences",
        "choices", "scores", "descriptions",
    ]  # fmt: skip


def test_a_table_belongs_to_the_stage_that_it_is_named_after():
    assert TABLES
    for stage in STAGES.values():
        assert {table.name.split("/")[0] for table in stage.tables} <= {stage.name}


def test_a_stage_whose_results_are_a_layers_has_one_table():
    assert {len(stage.tables) for stage in STAGES.values() if stage.per_layer} == {1}


def test_every_column_is_made_from_columns_of_stages_that_its_own_reads():
    made = 0
    for stage in STAGES.values():
        readable = {
            (name, column.name)
            for name in stage.reads
            for table in STAGES[name].tables
            for column in table.columns
        }
        for column in (column for table in stage.tables for column in table.columns):
            made += len(column.sources)
            assert set(column.sources) <= readable, (stage.name, column.name)
    assert made > 20


def test_the_calls_of_two_stages_never_stand_under_one_name_in_the_ledger():
    names = [stage.asks for stage in STAGES.values() if stage.asks]
    assert names == ["explanation", "simulation", "judgement", "sentence", "choice"]


@pytest.mark.parametrize(
    ("scorers", "more"),
    [
        ((), ()),
        (("detection",), ("judgements",)),
        (("retrieval",), ("judgements",)),
        (("ablation",), ("ablations",)),
        (("fuzzing", "ablation"), ("judgements", "ablations")),
        (("steering",), ("effects", "choices")),
        (("sensitivity",), ("sentences",)),
        (("sensitivity_templates",), ("sentences",)),
    ],
)
def test_judgements_and_ablations_are_there_for_studies_with_such_scorers(
    scorers: tuple[str, ...], more: tuple[str, ...]
):
    sometimes = {"judgements", "ablations", "effects", "sentences", "choices", "predictability"}
    always = set(STAGES) - sometimes
    assert set(stages_of(study(*scorers))) == {*always, *more}
    assert set(STAGES["scores"].reads) - set(upstream_of(study(*scorers), "scores")) == (
        {"judgements", "ablations", "sentences", "choices"} - set(more)
    )


@pytest.mark.parametrize(
    ("scorers", "layouts"),
    [
        (("detection",), ("detection",)),
        (("fuzzing",), ("fuzzing",)),
        (("fuzzing", "detection"), ("detection", "fuzzing")),
        (("retrieval",), ()),
    ],
)
def test_judgements_depend_on_the_wording_of_their_own_prompts_alone(
    scorers: tuple[str, ...], layouts: tuple[Any, ...]
):
    settings = STAGES["judgements"].settings(study(*scorers))
    assert settings["prompts"] == [prompt_identity(layout) for layout in layouts]


@pytest.mark.parametrize("kind", JUDGES)
def test_a_judge_that_asks_a_model_names_its_prompts(kind: type[Judging]):
    spec = kind.model_validate({"explainers": ("token_list",)})
    asked = Question("e", "words", (0, 1), "test", Excerpt(0, 0, 1, "firing", label=True), (b"a",), spec)
    assert bool(asked.n_calls) == bool(spec.wording)


def test_a_new_kind_of_judge_cannot_leave_its_prompts_out_of_the_identity():
    class Third(AskingJudge):
        kind: str = "third"

        def excerpts(self, *_: Any, **__: Any) -> list[Excerpt]:
            return []

    third = study("detection").model_copy(update={"scorers": {"third": Third(explainers=("token_list",))}})
    with pytest.raises(KeyError, match="third"):
        STAGES["judgements"].settings(third)


def test_sample_and_random_exemplars_do_not_capture_anew():
    own = study()

    def changed(part: str, **settings: Any) -> Study:
        return own.model_copy(update={part: getattr(own, part).model_copy(update=settings)})

    others = {
        "random_exemplars": changed("capture", random_exemplars=12),
        "sample": changed("sample", neurons_per_layer=3),
        "sequences": changed("sample", sequences=50),
        "lookup_gib": changed("capture", lookup_gib=9.0),
        "top_k": changed("capture", top_k=12),
    }
    anew = {
        name: [stage for stage in STAGES if stage_version(other, stage) != stage_version(own, stage)]
        for name, other in others.items()
    }
    assert anew == {
        "random_exemplars": ["neuron_records"],
        "sample": ["sampled_activations", "effects"],
        "sequences": ["sampled_activations"],
        "lookup_gib": [],
        "top_k": ["activations"],
    }


def test_another_llm_changes_only_what_asks_it():
    def versions(model: str, *scorers: str) -> list[str]:
        named = study(*scorers).model_dump() | {"llm": {"model": model}}
        changed = KnownStudy.model_validate(named)
        return [stage_version(changed, stage) for stage in ("simulations", "judgements")]

    assert versions("m", "retrieval") == versions("n", "retrieval")
    simulated, judged = zip(*(versions(model, "detection") for model in "mn"), strict=True)
    assert simulated[0] == simulated[1], "the simulator is an encoder"
    assert judged[0] != judged[1]
