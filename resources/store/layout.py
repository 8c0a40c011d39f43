"""What the files of a store are, told by their paths alone, and which of them nothing needs any longer."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from neuroscribe.study.spec import Study, layer_of
from neuroscribe.study.stages import TABLES, stages_of
from resources.store.datasets import NAME
from resources.store.files import PART, WRITE_CHECK, Entry
from resources.store.leases import PROBE

Kind = Literal["table", "state", "shard", "whole", "dataset", "temporary"]

DAY_S = 86_400.0
"""No writer takes so long over one file: what is older was left by one that is dead."""
_TABLE = re.compile(r"(?P<table>.+?)(/(?P<layer>layer_\d+))?\.parquet")
_STATE = re.compile(
    r"activations/tensors/(?P<layer>layer_\d+)(?P<part>(\.shard_\d+_of_\d+)?(\.open)?)\.safetensors"
)
_WHOLE = re.compile(r"activations/whole/(?P<version>[^/]+)/(?P<layer>layer_\d+)/block_\d+\.safetensors")
_DATASET = re.compile(rf"\.?{NAME}/(?P<version>[0-9a-f]{{32}})/.+")


@dataclass(frozen=True)
class Placed:
    """What one file is: of which study and stage, and of which layer where it is a layer's."""

    kind: Kind
    study: str
    stage: str = ""
    layer: int | None = None
    version: str = ""
    """Of whole activations and datasets, which may be there in several."""


@dataclass(frozen=True)
class Garbage:
    """A file that nothing needs, and why."""

    entry: Entry
    why: str


@dataclass(frozen=True)
class Current:
    """Which versions a study's other files lead to."""

    dataset: str = ""
    captures: Collection[str] = field(default_factory=frozenset[str])
    """Of its whole activations; none where that is not known."""


def placed(path: str) -> Placed | None:
    """Return what a file is by its path below the store; None for one that no part of this package writes."""
    study, mark, rest = path.partition("/")
    name = path.rpartition("/")[2]
    if name.endswith((PART, PROBE)) or path == WRITE_CHECK:
        return Placed("temporary", study if mark else "")
    if not mark:
        return None
    if found := _STATE.fullmatch(rest):
        return Placed("shard" if found["part"] else "state", study, "activations", layer_of(found["layer"]))
    if found := _WHOLE.fullmatch(rest):
        return Placed("whole", study, "activations", layer_of(found["layer"]), found["version"])
    if found := _DATASET.fullmatch(rest):
        return Placed("dataset", study, NAME, version=found["version"])
    found = _TABLE.fullmatch(rest)
    if (
        found is None
        or (table := TABLES.get(found["table"])) is None
        or table.per_layer != bool(found["layer"])
    ):
        return None
    layer = layer_of(found["layer"]) if found["layer"] else None
    return Placed("table", study, found["table"].partition("/")[0], layer)


def garbage(
    entries: Sequence[Entry],
    studies: Mapping[str, Study],
    *,
    broken: Collection[str] = (),
    current: Mapping[str, Current] | None = None,
) -> list[Garbage]:
    """Return the files that nothing needs, in order.

    Studies whose file is `broken` are there: nothing is known of their stages. Stored answers, and files that
    are none of ours, are never among them.
    """
    finished = {
        (place.study, place.layer): entry.age_s
        for entry in entries
        if (place := placed(entry.path)) and place.kind == "state"
    }
    found: list[Garbage] = []
    for entry in sorted(entries, key=lambda entry: entry.path):
        place = placed(entry.path)
        if place is None:
            continue
        known = (current or {}).get(place.study, Current())
        if why := _why(place, entry.age_s, studies, broken, known, finished.get((place.study, place.layer))):
            found.append(Garbage(entry, why))
    return found


def of_layers(
    entries: Iterable[Entry], study: str, layers: Collection[int], stages: Collection[str], *, capture: bool
) -> list[Entry]:
    """Return the files of a study's layers: the tables of some stages and, with `capture`, the tensors."""
    kinds = {"table", *(("state", "shard", "whole") if capture else ())}
    return [
        entry
        for entry in entries
        if (place := placed(entry.path))
        and place.study == study
        and place.kind in kinds
        and place.layer in layers
        and (place.kind != "table" or place.stage in stages)
    ]


def _why(
    place: Placed,
    age_s: float,
    studies: Mapping[str, Study],
    broken: Collection[str],
    current: Current,
    finished_s: float | None,
) -> str:
    """Return why a file is garbage, empty where it is none; `finished_s` is the age of its layer's state."""
    if place.kind == "temporary":
        return "a writer that was killed has left it" if age_s > DAY_S else ""
    if place.study not in studies:
        return "" if place.study in broken else f"no study's file is named {place.study}"
    match place.kind:
        case "table" if place.stage not in stages_of(studies[place.study]):
            return f"study {place.study} has no {place.stage} any longer"
        case "shard" if finished_s is not None and finished_s < age_s:
            return f"layer {place.layer} has been captured whole since"
        case "whole" if current.captures and place.version not in current.captures:
            return "it is of a capture that other tensors have replaced"
        case "dataset" if current.dataset and place.version != current.dataset and age_s > DAY_S:
            return "it is of a dataset that was never published, or was replaced"
        case _:
            return ""
