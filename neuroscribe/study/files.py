"""Reads studies from TOML files and picks one, and layers of it, by what a person typed."""

import tomllib
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from neuroscribe.errors import StudyError
from neuroscribe.study.sections import models_in
from neuroscribe.study.spec import Study

_BY_KIND = (("explainers",), ("simulators",), ("scorers",))
"""Tables of a study whose sections each have a kind, at the place of whose name pydantic puts it, too."""
_CHOICES = ("tuple[", "literal[", "constrained-")
"""What pydantic puts into the place of a problem for each form that a value may take."""


def _explained(path: Path, problems: Iterable[Any], study: type[Study]) -> list[str]:
    """Return pydantic's problems with a file as lines, one per key."""
    by_key = [list(same) for _, same in groupby(problems, lambda problem: _without_choice(problem["loc"]))]
    return [_line(path, same[0] if len(same) == 1 else _joined(same), study) for same in by_key]


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
            return f"{path}: unknown key `{key}`; known keys here: {known}"
        case "missing":
            return f"{path}: key `{key}` is missing; add it (README.md lists the sections)"
        case "union_tag_invalid":
            context = problem["ctx"]
            return f"{path}: {key}: unknown kind '{context['tag']}'; give kind = {context['expected_tags']}"
        case "value_error":
            where = f"{key}: " if key else ""
            return f"{path}: {where}{problem['ctx']['error']}"
        case _:
            return f"{path}: key `{key}` is {problem['input']!r}: {problem['msg'].lower()}; correct it"


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
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not valid TOML ({error}); correct the line it names") from error
    if "name" in data:
        raise StudyError(f"{path}: unknown key `name`; a study is named after its file, so remove the key")
    try:
        return known.model_validate({"name": path.stem, **data})
    except ValidationError as error:
        raise StudyError("\n".join(_explained(path, error.errors(), known))) from error


def read_studies(folder: Path, known: type[Study]) -> dict[str, Study]:
    """Read every study of a folder, by name; raises StudyError for an empty folder or a bad file."""
    studies = {path.stem: read_study(path, known) for path in sorted(folder.glob("*.toml"))}
    if not studies:
        raise StudyError(f"{folder}: holds no study; add a .toml file (see studies/embedded.toml)")
    return studies


def chosen_study(studies: Mapping[str, Study], name: str) -> Study:
    """Return the study of that name; an unknown name is answered with those there are."""
    if name not in studies:
        raise StudyError(f"there is no study {name!r}; studies/ holds {', '.join(sorted(studies))}")
    return studies[name]


def chosen_layers(study: Study, given: str) -> tuple[int, ...]:
    """Return the layers that a text such as `0,6,12` names; raises StudyError for one that is not there."""
    names = [name.strip() for name in given.split(",")]
    if wrong := [name for name in names if not name.isdecimal() or int(name) >= study.subject.layers]:
        raise StudyError(
            f"--layers names {wrong[0]!r}; study {study.name} has layers 0 to {study.subject.layers - 1}"
        )
    return tuple(sorted({int(name) for name in names}))
