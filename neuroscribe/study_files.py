"""Reads studies from TOML files and picks one, and layers of it, by what a person typed."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from neuroscribe.errors import StudyError
from neuroscribe.explain.specs import EXPLAINER_KINDS
from neuroscribe.score.specs import SCORER_KINDS
from neuroscribe.simulate.specs import SIMULATOR_KINDS
from neuroscribe.studies import Study
from neuroscribe.study_errors import explained

_KINDS: dict[str, type[BaseModel]] = {**EXPLAINER_KINDS, **SIMULATOR_KINDS, **SCORER_KINDS}


def read_study(path: Path) -> Study:
    """Read and check one study file, which is named after the study.

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
        return Study.model_validate({"name": path.stem, **data})
    except ValidationError as error:
        raise StudyError("\n".join(explained(path, error.errors(), study=Study, kinds=_KINDS))) from error


def read_studies(folder: Path) -> dict[str, Study]:
    """Read every study of a folder, by name; raises StudyError for an empty folder or a bad file."""
    studies = {path.stem: read_study(path) for path in sorted(folder.glob("*.toml"))}
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
