"""The prompts behind an explanation: as stored beside their answers, and built anew from the tables.

What was sent is known by its hash alone, which stands beside the explanation. So messages count as what was
sent only if they have that hash, wherever they are from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from neuroscribe.errors import NeuroscribeError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.auto import Auto
from neuroscribe.explain.explainer import Asking, Explaining
from neuroscribe.explain.questions import Question, answer_key, before, explaining, questions
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import ABOUT, PROMPT, turns
from neuroscribe.ports.models import TextEncoder
from neuroscribe.ports.stores import CallStore
from neuroscribe.report.trace.tree import Prompt, Sent
from neuroscribe.study.spec import Study

OpenEncoder = Callable[[], TextEncoder]
"""Opens the study's first sentence encoder, where an explainer rests on it."""
Messages = Sequence[Sequence[str]]
"""Role and content of each."""


def sent(
    evidence: LayerEvidence, row: Mapping[str, Any], calls: CallStore, encoder: OpenEncoder, *, holds: bool
) -> Sent:
    """Return what was sent for an explanation, a row of EXPLANATIONS.

    `evidence` is that of its layer, of its neuron alone; `holds` tells whether the explanations were made
    from the tables there now. Without that nothing is built anew.
    """
    spec = _asking(evidence.study, row)
    if spec is None or row["model"] == "none":
        return Sent(
            (), is_stored=False, is_verified=False, is_rebuilt=None, note="no language model was asked"
        )
    rebuilt = _Rebuilt((), "the tables have changed since the explanation was made")
    if holds:
        rebuilt = _rebuilt(evidence, row, encoder)
    wanted, same = row["prompt_sha256"], None
    if rebuilt.asked:
        same = _together([question.prompt_sha256 for question in rebuilt.asked]) == wanted
    if same:
        return _found([_call(question, row, calls) for question in rebuilt.asked])
    stored = _stored(answer_key(spec, row["model"], wanted, row["sample_index"]), calls)
    if stored is not None:
        whole = fingerprint([list(each) for each in stored.messages]) == wanted
        note = "" if whole else "the stored prompt has another hash: somebody has changed it"
        notes = "; ".join(part for part in (note, rebuilt.note) if part)
        return Sent((stored,), is_stored=True, is_verified=whole, is_rebuilt=same, note=notes)
    lost = "the stored calls hold no such prompt"
    if rebuilt.asked:
        lost += ", and the tables give another one: this version or these settings ask otherwise"
    shown = tuple(_built(question) for question in rebuilt.asked)
    note = "; ".join(part for part in (lost, rebuilt.note) if part)
    return Sent(shown, is_stored=False, is_verified=False, is_rebuilt=same, note=note)


@dataclass(frozen=True)
class _Rebuilt:
    asked: tuple[Question, ...]
    note: str = ""


def _asking(study: Study, row: Mapping[str, Any]) -> Asking | None:
    """Return how the explainer asks; None where it asks nobody."""
    spec: Explaining = explaining(study, row["explainer"])
    if isinstance(spec, Auto):
        return spec.asking(row["form"])
    return spec if isinstance(spec, Asking) else None


def _rebuilt(evidence: LayerEvidence, row: Mapping[str, Any], encoder: OpenEncoder) -> _Rebuilt:
    """Return the explanation's questions as the tables give them now, or why there are none."""
    study, name = evidence.study, row["explainer"]
    made = {other: evidence.explanations(other) for other in study.explainers[name].builds_on}
    try:
        spec = study.explainers[name]
        # Of `auto` the encoder only tells which form to take, and that is on record.
        opened = encoder() if spec.uses_encoder and not isinstance(spec, Auto) else None
        given = before(study, name, made, encoder=opened, form=row["form"])
        every = questions(evidence, name, given)
    except NeuroscribeError as error:
        return _Rebuilt((), f"it could not be built anew: {error}")
    makes = ((row["neuron"], row["polarity"]), row["sample_index"], row["draw"])
    asked = tuple(each for each in every if each.makes == makes and each.shown.messages)
    return _Rebuilt(asked, "" if asked else "the tables give no question about this neuron")


def _together(hashes: Sequence[str]) -> str:
    """Return what stands beside an explanation for its prompts."""
    return hashes[0] if len(hashes) == 1 else fingerprint(list(hashes))


def _found(prompts: Sequence[tuple[Prompt, str]]) -> Sent:
    """Return prompts that were built anew with the right hash, and why stored ones are not shown."""
    notes = list(dict.fromkeys(note for _, note in prompts if note))
    every = tuple(each for each, _ in prompts)
    return Sent(every, is_stored=not notes, is_verified=True, is_rebuilt=True, note="; ".join(notes))


def _call(question: Question, row: Mapping[str, Any], calls: CallStore) -> tuple[Prompt, str]:
    """Return a question with its stored answer, and why its messages are not read from beside that."""
    key = question.key(row["model"])
    built, stored = _built(question), _stored(key, calls)
    if stored is None:
        return built, "built anew from the tables, for the call is not stored"
    note = ""
    if not stored.messages:
        note = "built anew from the tables, for the answer alone is stored"
    elif [list(each) for each in stored.messages] != turns(question.shown.messages):
        note = "built anew from the tables, for another prompt is stored: somebody has changed it"
    return Prompt(built.sha256, built.messages, key, stored.reply, stored.asked_for), note


def _built(question: Question) -> Prompt:
    messages = tuple((message.role, message.content) for message in question.shown.messages)
    return Prompt(question.prompt_sha256, messages, None, None, {})


def _stored(key: str, calls: CallStore) -> Prompt | None:
    """Return what is stored of a call; its messages are empty where they were not kept."""
    answer = calls.get(key)
    if answer is None:
        return None
    messages = tuple((role, content) for role, content in cast(Messages, answer.get(PROMPT) or ()))
    about, raw = answer.get(ABOUT), answer.get("raw")
    return Prompt(
        fingerprint([list(each) for each in messages]),
        messages,
        key,
        raw if isinstance(raw, str) else None,
        cast(dict[str, Any], about) if isinstance(about, dict) else {},
    )
