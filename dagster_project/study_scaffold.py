"""What `dg scaffold` writes: a study file that runs as it is, with comments about what else may be set."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from string import Template

import dagster as dg
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from dagster_project.environments import Environment
from neuroscribe.errors import NeuroscribeError, StoreError, StudyError
from neuroscribe.study.sections import Name
from neuroscribe.text.escaping import escaped

_DEFS = Path(__file__).parent / "defs"
_TEMPLATE = Path(__file__).with_name("study_scaffold.toml")


class StudyParams(BaseModel):
    """What may be said of a new study at once; all of it can be changed in its file."""

    model: str = Field(default="HuggingFaceTB/SmolLM2-360M", description="Subject: a hub's name or a folder.")
    layers: int = Field(default=0, description="Its blocks, `num_hidden_layers` in config.json.")
    neurons_per_layer: int = Field(default=0, description="Its MLP's width, `intermediate_size` there.")
    prefix_token: str = Field(default="", description="Token fed before every sequence (BOS).")
    files: str = Field(default="", description="Own text: .txt, .jsonl or .parquet files.")


_KNOWN = StudyParams(layers=32, neurons_per_layer=2560, prefix_token="<|endoftext|>")  # noqa: S106 - of text
"""What is to be said of the model that is taken where none is named."""


class StudyScaffolder(dg.Scaffolder[StudyParams]):
    """Writes the file of a new study into the studies folder."""

    @classmethod
    def get_scaffold_params(cls) -> type[StudyParams]:
        """Return the options of the command."""
        return StudyParams

    def scaffold(self, request: dg.ScaffoldRequest[StudyParams]) -> None:
        """Write the file and end the command: Dagster would go on to ask for a second file beside it.

        Names that will not do, or exist, are refused with one message.
        """
        _remove_empty(request.target_path)
        try:
            path = write_study(request.target_path.relative_to(_DEFS).as_posix(), request.params)
        except NeuroscribeError as error:
            sys.exit(f"error: {escaped(str(error).encode(errors='replace'))}")
        sys.stdout.write(f"The study is {path}; next: dg check defs, then make run STUDY={path.stem}\n")
        sys.exit(0)


def write_study(name: str, params: StudyParams) -> Path:
    """Write the file of a study that is new; raises StudyError for a name that will not do, or exists."""
    name = name.removesuffix(".toml")
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise StudyError(
            f"{name!r} will not do as a study's name; use lower-case letters, digits and underscores, a"
            " letter first"
        ) from error
    path = Environment.read().studies / f"{name}.toml"
    if path.exists():
        raise StudyError(f"{path}: is there already; edit it, or take another name")
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(study_text(params), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error}); make the folder writable") from error
    return path


def study_text(params: StudyParams) -> str:
    """Return a study as TOML; what only the model's user can know, and has not said, is left open."""
    if params.model == _KNOWN.model:
        params = _KNOWN.model_copy(update=params.model_dump(exclude_defaults=True))
    source = f"files = {_quoted(params.files)}" if params.files else 'artefact = "wikipedia-leads-en"'
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        description=_quoted(f"Neurons of {params.model}"),
        model=_quoted(params.model),
        layers=_line("layers", params.layers or None),
        neurons_per_layer=_line("neurons_per_layer", params.neurons_per_layer or None),
        prefix_token=_line("prefix_token", _quoted(params.prefix_token) if params.prefix_token else None),
        source=source,
    )


def _line(key: str, value: object) -> str:
    """Return a key with its value, or as a comment where nobody has given one."""
    return f"# {key} =" if value is None else f"{key} = {value}"


def _quoted(text: str) -> str:
    """Return a text as TOML writes it, which is as JSON does but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _remove_empty(folder: Path) -> None:
    """Remove the folder that `dg` made for a component's own files, and those above that it made for it."""
    with suppress(OSError):  # the first that holds something
        while folder != _DEFS:
            folder.rmdir()
            folder = folder.parent
