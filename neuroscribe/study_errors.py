"""Says what is wrong in a study file, in one line: file, key, finding and remedy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def explained(
    path: Path, problem: Any, *, study: type[BaseModel], kinds: Mapping[str, type[BaseModel]]
) -> str:
    """Return one of pydantic's problems with a file as a line.

    `kinds` are the models of tables whose kind is told by a key.
    """
    key = _key(problem["loc"])
    match problem["type"]:
        case _ if problem["loc"] == ("name",):
            return (
                f"{path}: the file's name is the study's, and {path.stem!r} will not do; rename the file to"
                " lower-case letters, digits and underscores, a letter first"
            )
        case "extra_forbidden":
            known = ", ".join(_known_keys(problem["loc"], study, kinds))
            return f"{path}: unknown key `{key}`; known keys here: {known}"
        case "missing":
            return f"{path}: key `{key}` is missing; add it (studies/embedded.toml shows every section)"
        case "union_tag_invalid":
            context = problem["ctx"]
            return f"{path}: {key}: unknown kind '{context['tag']}'; give kind = {context['expected_tags']}"
        case "value_error":
            return f"{path}: {key}: {problem['ctx']['error']}"
        case _:
            return f"{path}: key `{key}` is {problem['input']!r}: {problem['msg'].lower()}; correct it"


def _key(location: tuple[str | int, ...]) -> str:
    """Return a key as the file spells it: pydantic puts a table's kind in after its name."""
    tagged = location[:1] in (("explainers",), ("simulators",))
    parts = (*location[:2], *location[3:]) if tagged else location
    return ".".join(str(part) for part in parts) or "the file"


def _known_keys(
    location: tuple[str | int, ...], study: type[BaseModel], kinds: Mapping[str, type[BaseModel]]
) -> list[str]:
    """Return the keys that are allowed beside an unknown one."""
    model = study
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        inner: Any = field.annotation if field is not None else kinds.get(str(part))
        model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else model
    return sorted(model.model_fields)
