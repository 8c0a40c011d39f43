"""Labels in the forms in which others publish them, and what a study refuses of them.

OpenAI's explanations (an object for each neuron, with `scored_explanations`), Transluce's (the same with
`explanations` by sign), Neuronpedia's export (an object for each explanation, `layer` being a source), and
plain rows with the columns layer, neuron, polarity and text.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from neuroscribe.errors import LabelError
from neuroscribe.ports.labels import Label
from neuroscribe.study.labels import LabelsSpec
from neuroscribe.study.spec import Study

Row = tuple[str, dict[str, Any]]
"""A place, and what stands there by name."""
_NEURON, _TEXT = ("neuron", "index", "neuron_index"), ("text", "explanation", "description")
COLUMNS = ("layer", *_NEURON, "polarity", *_TEXT, "sequence_ids")
"""What a plain row may say of a label; other columns are not looked at."""
_SOURCE = re.compile(r"(?P<layer>\d{1,9})(-(?P<set>.+))?")
_NEURONS = "neurons"
"""The source set of a source that is a mere number."""
_SIGNS = {"positive": 1, "negative": -1}
_SHOWN = 5


@dataclass(frozen=True)
class Record:
    """One label with what it is said of."""

    place: str
    layer: int
    neuron: int
    polarity: int
    text: str
    sequence_ids: tuple[int, ...] = ()


def records(rows: Iterable[Row], spec: LabelsSpec) -> Iterator[Record]:
    """Yield the labels in some rows; raises LabelError for a row of another form. A null text is no label."""
    for place, row in rows:
        form = _form(row) if spec.format == "auto" else spec.format
        match form:
            case "openai":
                yield from _openai(place, row)
            case "transluce":
                yield from _transluce(place, row)
            case "neuronpedia":
                yield from _neuronpedia(place, row, spec.source)
            case _:
                yield from _plain(place, row)


def collected(
    found: Iterable[Record], spec: LabelsSpec, study: Study
) -> dict[tuple[int, int, int], tuple[Label, ...]]:
    """Return labels by layer, neuron and polarity; a text that is there twice counts once.

    Raises LabelError for those of a neuron that the subject has not, for more of one neuron than are taken,
    and where there are none.
    """
    labels: dict[tuple[int, int, int], list[Label]] = {}
    for record in found:
        _check_place(record, study)
        own = labels.setdefault((record.layer, record.neuron, record.polarity), [])
        if record.text not in [label.text for label in own]:
            own.append(Label(record.text, record.place, record.sequence_ids))
        if len(own) > spec.candidates:
            raise _too_many(record, own, spec)
    if not labels:
        raise LabelError(f"file = {spec.file!r}: holds no label; name a file that does")
    return {key: tuple(own) for key, own in labels.items()}


def _check_place(record: Record, study: Study) -> None:
    subject = study.subject
    for what, number, count in (
        ("layer", record.layer, subject.layers),
        ("neuron", record.neuron, subject.neurons_per_layer),
    ):
        if not 0 <= number < count:
            raise LabelError(
                f"{record.place}: {what} {number}, and the subject {subject.model} has 0 to {count - 1};"
                " these may be labels of another model: remove the row, or name the right file"
            )
    outside = [number for number in record.sequence_ids if not 0 <= number < study.corpus.sequences]
    if outside:
        raise LabelError(
            f"{record.place}: sequence_ids names {outside[0]}, and the study's corpus has 0 to"
            f" {study.corpus.sequences - 1}; leave the column out unless it speaks of this corpus"
        )


def _too_many(record: Record, own: list[Label], spec: LabelsSpec) -> LabelError:
    places = "; ".join(label.place for label in own[:_SHOWN])
    return LabelError(
        f"file = {spec.file!r}: more than {spec.candidates} label(s) of layer {record.layer}, neuron"
        f" {record.neuron}, polarity {record.polarity:+d} ({places}); set candidates = {len(own)} or more,"
        " and the best on `valid` is reported, or remove the others"
    )


def _form(row: Mapping[str, Any]) -> str:
    """Return whose form a row has, by its keys."""
    if "scored_explanations" in row:
        return "openai"
    if "neuron_id" in row and "explanations" in row:
        return "transluce"
    return "neuronpedia" if "modelId" in row else "plain"


def _plain(place: str, row: Mapping[str, Any]) -> Iterator[Record]:
    neuron, text = (next((name for name in names if name in row), None) for names in (_NEURON, _TEXT))
    if "layer" not in row or neuron is None or text is None:
        found = ", ".join(str(name)[:80] for name in list(row)[:20]) or "nothing"
        raise LabelError(
            f"{place}: no columns layer, neuron (or index) and text (or explanation, description); found"
            f" {found}; rename them, or set `format`"
        )
    said = _text(place, row[text], text)
    if said is not None:
        where = _number(place, row["layer"], "layer"), _number(place, row[neuron], neuron)
        yield Record(place, *where, _polarity(place, row.get("polarity")), said, _sequences(place, row))


def _openai(place: str, row: Mapping[str, Any]) -> Iterator[Record]:
    where = _neuron_id(place, row)
    for entry in _list(place, row.get("scored_explanations"), "scored_explanations"):
        said = _text(place, _entry(place, entry).get("explanation", ""), "explanation")
        if said is not None:
            yield Record(place, *where, 1, said)


def _transluce(place: str, row: Mapping[str, Any]) -> Iterator[Record]:
    where, by_sign = _neuron_id(place, row), _entry(place, row.get("explanations"))
    for sign, entries in by_sign.items():
        if sign not in _SIGNS:
            raise LabelError(f"{place}: explanations of {sign!r}; they are of positive or negative")
        for entry in _list(place, entries, f"explanations.{sign}"):
            said = _text(place, _entry(place, entry).get("explanation", ""), "explanation")
            if said is not None:
                yield Record(place, *where, _SIGNS[sign], said)


def _neuronpedia(place: str, row: Mapping[str, Any], wanted: str | None) -> Iterator[Record]:
    source = _SOURCE.fullmatch(str(row.get("layer")))
    if source is None or "index" not in row or "description" not in row:
        raise LabelError(
            f"{place}: no line of Neuronpedia's explanations, which have layer (as in 5 or 5-set), index and"
            " description; name the files below explanations/"
        )
    its_set = source["set"] or _NEURONS
    if wanted is None and its_set != _NEURONS:
        raise LabelError(
            f"{place}: of the source set {its_set!r}; if its indices count the neurons of this study's"
            f" subject, and no latents of an autoencoder, set source = {its_set!r}"
        )
    said = _text(place, row["description"], "description")
    if its_set == (wanted or _NEURONS) and said is not None:
        yield Record(place, int(source["layer"]), _number(place, row["index"], "index"), 1, said)


def _neuron_id(place: str, row: Mapping[str, Any]) -> tuple[int, int]:
    own = _entry(place, row.get("neuron_id"))
    layer, neuron = (_number(place, own.get(name), name) for name in ("layer_index", "neuron_index"))
    return layer, neuron


def _entry(place: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise LabelError(f"{place}: {_said(value)} where an object belongs; correct or remove it")
    return value


def _list(place: str, value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise LabelError(f"{place}: {name} is {_said(value)}, and no list; correct or remove it")
    return value


def _number(place: str, value: object, name: str) -> int:
    """Return a whole number, given as one or as a text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}\s*", value, re.ASCII):
        return int(value)
    raise LabelError(f"{place}: {name} is {_said(value)}, and no whole number; correct or remove it")


def _polarity(place: str, value: object) -> int:
    known: Mapping[object, int] = {None: 1, "": 1, 1: 1, -1: -1, "1": 1, "+1": 1, "-1": -1}
    if isinstance(value, bool | float | list | dict) or value not in known:
        raise LabelError(f"{place}: polarity is {_said(value)}; it is 1 or -1")
    return known[value]


def _sequences(place: str, row: Mapping[str, Any]) -> tuple[int, ...]:
    given = row.get("sequence_ids")
    if given is None or given == "":
        return ()
    return tuple(_number(place, each, "sequence_ids") for each in _list(place, given, "sequence_ids"))


def _text(place: str, value: object, name: str) -> str | None:
    """Return a label on one line; None for a null, which is none."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise LabelError(f"{place}: {name} is {_said(value)}, and no text; correct or remove it")
    flaw = "holds a NUL" if "\0" in value else "is empty" if not value.strip() else ""
    if not flaw and any("\ud800" <= character <= "\udfff" for character in value):
        flaw = "holds half of a surrogate pair"
    if flaw:
        raise LabelError(f"{place}: {name} {flaw}, which is no label; correct or remove it")
    return " ".join(value.split())


def _said(value: object) -> str:
    return repr(value)[:80]
