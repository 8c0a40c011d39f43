"""Reads studies from TOML files and picks one, and layers of it, by what a person typed."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from neuroscribe.errors import StudyError
from neuroscribe.study.sections import models_in
from neuroscribe.study.spec import Study
from neuroscribe.study.toml import brief, study_data

_BY_KIND = (("explainers",), ("simulators",), ("scorers",))
"""Tables of a study whose sections each have a kind, at the place of whose name pydantic puts it, too."""
_CHOICES = ("tuple[", "literal[", "constrained-")
"""What pydantic puts into the place of a problem for each form that a value may take."""
_MOST_LINES = 20
"""Of a message about one file."""


class Studies(Mapping[str, Study]):
    """The sound studies of a folder by name, and what is wrong with the others."""

    def __init__(self, sound: Mapping[str, Study], broken: Mapping[str, StudyError]) -> None:
        self._sound = sound
        self.broken = broken
        """By name; the message names the file."""

    def __getitem__(self, name: str) -> Study:
        """Return a sound study; raises KeyError for any other."""
        return self._sound[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the sound studies, in order."""
        return iter(self._sound)

    def __len__(self) -> int:
        """Return how many are sound."""
        return len(self._sound)


def _explained(path: Path, problems: Iterable[Any], study: type[Study]) -> list[str]:
    """Return pydantic's problems with a file as lines, one per key."""
    by_key = [list(same) for _, same in groupby(problems, lambda problem: _without_choice(problem["loc"]))]
    shown = [
        _line(path, same[0] if len(same) == 1 else _joined(same), study) for same in by_key[:_MOST_LINES]
    ]
    more = len(by_key) - len(shown)
    return [*shown, f"{path}: and {more} more; correct these first"] if more else shown


def _without_choice(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return a place as far as it is the file's own: without the form that was tried on its value."""
    tried = [place for place, part in enumerate(location) if str(part).startswith(_CHOICES)]
    return location[: tried[0]] if tried else location


def _joined(problems: list[Any]) -> Any:
    """Return the problem of a value that has none of the forms it may take; the last is about all of it."""
    messages = dict.fromkeys(problem["msg"] for problem in problems if problem["type"] != "too_short")
    return {**problems[-1], "loc": _without_choice(problems[-1]["loc"]), "msg": " or ".join(messages)}


def _line(path: Path, problem: Any, study: type[Study]) -> str:
    key = _key(problem["loc"])
    match problem["type"]:
        case _ if problem["loc"] == ("name",):
            return (
                f"{path}: the file's name is the study's, and {path.stem!r} will not do; rename the file to"
                " lower-case letters, digits and underscores, a letter first"
            )
        case "extra_forbidden":
            known = ", ".join(_known_keys(problem["loc"], study))
            return f"{path}: unknown key `{brief(key)}`; known keys here: {known}"
        case "missing":
            return f"{path}: key `{key}` is missing; add it (README.md lists the sections)"
        case "union_tag_invalid":
            tag, known = brief(problem["ctx"]["tag"]), problem["ctx"]["expected_tags"]
            return f"{path}: {brief(key)}: unknown kind '{tag}'; give kind = {known}"
        case "value_error":
            where = f"{brief(key)}: " if key else ""
            return f"{path}: {where}{problem['ctx']['error']}"
        case _:
            found, finding = brief(repr(problem["input"])), brief(problem["msg"].lower())
            return f"{path}: key `{brief(key)}` is {found}: {finding}; correct it"


def _key(location: tuple[str | int, ...]) -> str:
    """Return a key as the file spells it, and "" for the file: pydantic adds a table's kind to its name."""
    parts = (*location[:2], *location[3:]) if location[:1] in _BY_KIND else location
    return ".".join(str(part) for part in parts)


def _known_keys(location: tuple[str | int, ...], study: type[Study]) -> list[str]:
    """Return the keys that are allowed beside an unknown one."""
    model: type[BaseModel] = study
    way = location[:-1]
    if location[:1] in _BY_KIND:
        model = study.known_kinds(str(location[0]))[str(location[2])]
        way = location[3:-1]
    for part in way:
        field = model.model_fields.get(str(part))
        model = next(iter(models_in(field.annotation if field else None)), model)
    return sorted(model.model_fields.keys() - ({"name"} if model is study else set()))


def read_study(path: Path, known: type[Study]) -> Study:
    """Read and check one study file, which is named after the study, as a study of the class `known`.

    Raises StudyError naming file, key, finding and remedy.
    """
    data = study_data(path)
    if "name" in data:
        raise StudyError(f"{path}: unknown key `name`; a study is named after its file, so remove the key")
    try:
        return known.model_validate({"name": path.stem, **data})
    except ValidationError as error:
        raise StudyError("\n".join(_explained(path, error.errors(), known))) from error


def read_studies(folder: Path, known: type[Study]) -> Studies:
    """Read every study of a folder; raises StudyError for one without any.

    Files whose name begins with a dot are those of editors and file systems.
    """
    sound: dict[str, Study] = {}
    broken: dict[str, StudyError] = {}
    for path in sorted(each for each in folder.glob("*.toml") if not each.name.startswith(".")):
        try:
            sound[path.stem] = read_study(path, known)
        except StudyError as error:
            broken[path.stem] = error
    if not sound and not broken:
        raise StudyError(f"{folder}: holds no study; add a .toml file (see studies/embedded.toml)")
    return Studies(sound, broken)


def chosen_study(studies: Studies, name: str) -> Study:
    """Return the study of that name.

    Raises StudyError for one that is broken, and for an unknown name, naming those there are.
    """
    if name in studies.broken:
        raise studies.broken[name]
    if name not in studies:
        there = ", ".join(sorted([*studies, *studies.broken]))
        raise StudyError(f"there is no study {name!r}; studies/ holds {there}")
    return studies[name]


def chosen_layers(study: Study, given: str) -> tuple[int, ...]:
    """Return the layers that a text such as `0,6,12` names; raises StudyError for one that is not there."""
    names = [name.strip() for name in given.split(",")]
    if wrong := [name for name in names if not _names_layer(name, study)]:
        raise StudyError(
            f"--layers names {brief(wrong[0])!r}; study {study.name} has layers 0 to"
            f" {study.subject.layers - 1}"
        )
    return tuple(sorted({int(name) for name in names}))


def sampled_layers(study: Study, given: str) -> tuple[int, ...]:
    """Return the same; raises StudyError for a layer of which the study samples nothing, too."""
    layers = chosen_layers(study, given)
    if others := sorted({*layers} - {*study.sampled_layers}):
        sampled = ", ".join(map(str, study.sampled_layers))
        raise StudyError(
            f"--layers names {others[0]}, of which study {study.name} samples no neurons (sample.layers:"
            f" {sampled}); add it to sample.layers: nothing that is there is made anew by that"
        )
    return layers


def _names_layer(text: str, study: Study) -> bool:
    return text.isdecimal() and len(text) < 10 and int(text) < study.subject.layers
