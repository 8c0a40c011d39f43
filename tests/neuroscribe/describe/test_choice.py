"""Which text describes a neuron."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from neuroscribe.describe.choice import Choice, Choosing
from neuroscribe.study.describing import Describing
from neuroscribe.study.kinds import ExplainerSpec
from neuroscribe.study.sections import Capability
from neuroscribe.testing.rows import explanation_row


class _Free(ExplainerSpec):
    kind: Literal["free"] = "free"


class _Asked(ExplainerSpec):
    needs: ClassVar[Capability | None] = "reply"

    kind: Literal["asked"] = "asked"


class _Senses(_Asked):
    @property
    def rival(self) -> str | None:
        return "groups"


EXPLAINERS: Mapping[str, ExplainerSpec] = {
    "llm": _Asked(), "phrases": _Free(), "tokens": _Free(), "senses": _Senses(), "groups": _Asked(),
}  # fmt: skip
DESCRIBING = Describing("embedding", ("llm", "phrases", "tokens", "senses"), ("groups",))


def choice(valid: Mapping[str, float], *also: dict[str, Any]) -> Choice:
    """The choice among texts named `explainer/candidate`, with their scores on valid, and some more rows."""
    rows = [row(name) for name in valid]
    return Choosing(DESCRIBING, EXPLAINERS, valid).choice([*also, *rows])


def row(name: str, **given: Any) -> dict[str, Any]:
    explainer, index = name.split("/")
    return explanation_row(0, int(index), explanation_id=name, explainer=explainer, **given)


def said(found: Choice) -> tuple[str | None, str]:
    return found.described and found.described["explanation_id"], found.why


def test_the_text_of_a_language_model_describes_only_where_it_beats_the_best_without_one():
    assert said(choice({"llm/0": 0.3, "llm/1": 0.4, "phrases/0": 0.35, "tokens/0": 0.1})) == (
        "llm/1",
        "better on valid than phrases, the best without a language model",
    )
    found = choice({"llm/0": 0.3, "llm/1": 0.34, "phrases/0": 0.35, "tokens/0": 0.1})
    assert said(found) == ("phrases/0", "no language model's text was better on valid than phrases")
    assert found.by_llm is not None
    assert found.by_llm["explanation_id"] == "llm/1"


def test_of_texts_that_are_as_good_the_one_without_a_model_and_then_the_first_of_the_study_is_taken():
    assert said(choice({"tokens/0": 0.3, "phrases/0": 0.3, "llm/0": 0.3}))[0] == "phrases/0"
    assert said(choice({"llm/1": 0.3, "llm/0": 0.3}))[0] == "llm/0"


def test_senses_describe_only_where_they_beat_their_random_groups():
    assert said(choice({"senses/0": 0.5, "groups/0": 0.4, "phrases/0": 0.3}))[0] == "senses/0"
    beaten = choice({"senses/0": 0.5, "groups/0": 0.5, "phrases/0": 0.3, "llm/0": 0.1})
    assert said(beaten) == (
        "phrases/0",
        "no language model's text was better on valid than phrases; senses is no better than groups",
    )
    # Groups that say nothing have not been beaten.
    assert said(choice({"senses/0": 0.5, "phrases/0": 0.3}))[0] == "phrases/0"


def test_a_rival_never_describes():
    assert said(choice({"groups/0": 0.9})) == (None, "no explainer that describes gave a text")


def test_texts_without_a_score_give_way_and_stand_in_where_there_is_none():
    unscored = row("tokens/0")
    assert said(choice({"phrases/0": -0.2}, unscored))[0] == "phrases/0"
    none = Choosing(DESCRIBING, EXPLAINERS, {}).choice([row("tokens/0"), row("phrases/0")])
    assert said(none) == ("phrases/0", "no text has a score on valid; the first is shown")


def test_refused_explanations_are_no_texts():
    refused = row("llm/0", status="refused")
    assert said(choice({"phrases/0": 0.1}, refused)) == ("phrases/0", "the only text")
    nothing = Choosing(DESCRIBING, EXPLAINERS, {}).choice([refused])
    assert said(nothing) == (None, "no explainer that describes gave a text")
