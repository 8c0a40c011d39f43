"""What every part of a study file is: a table whose unknown keys are errors and whose values are frozen."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neuroscribe.secrets.addresses import fault_of

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
"""Short enough for names of files and folders that are made of several."""
MOST = 2**62
"""Larger than any count in a study or of bytes, and small enough for 64 bits."""
Positive = Annotated[int, Field(gt=0, le=MOST)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
FromList = Field(min_length=1, strict=False)
"""Annotates a tuple that TOML gives as a list; what is in it stays strict."""
_COMMIT = re.compile("[0-9a-f]{40}")
Capability = Literal["reply", "prompt_logprobs", "next_token", "encoder", "subject"]
"""What an explainer, simulator or scorer may need: an LLM's answers, a prompt echoed with log-probabilities,
the log-probabilities of an answer's first token, a sentence encoder, the subject itself."""
LLM_NEEDS: frozenset[Capability] = frozenset({"reply", "prompt_logprobs", "next_token"})
"""What only a language model fulfils."""


class Section(BaseModel):
    """A table of a study file: unknown keys and values of another type are errors, values are frozen.

    Strict, since a boolean or a text in quotes would else pass for a number; a whole number does for a float.
    Studies are published with their datasets, so no value may hold an address with a secret.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def no_secrets(cls, given: Any) -> Any:
        """Refuse a text with an address that holds a name, a password or a key."""
        for text in _texts(given):
            if fault := fault_of(text):
                raise ValueError(fault)
        return given


def _texts(given: object) -> list[str]:
    """Return the texts among the values of a table."""
    values = cast(Mapping[str, object], given).values() if isinstance(given, Mapping) else ()
    return [value for value in values if isinstance(value, str)]


class WeightsSpec(Section):
    """Which weights to load; the artefact is a pinned copy that comes without a model hub."""

    model: str = Field(description="Hugging Face id or a local folder")
    revision: str | None = Field(default=None, description="commit of the hub repository")
    artefact: str | None = Field(default=None, description="name in resources/models/artefacts.toml")

    @property
    def folder(self) -> Path | None:
        """The folder on this machine that `model` names, if it does."""
        try:
            folder = Path(self.model).expanduser()
            return folder if self.artefact is None and folder.is_dir() else None
        except (OSError, RuntimeError):  # no path that this machine can have
            return None

    @property
    def is_pinned(self) -> bool:
        """Whether the same weights are loaded every time: branches move, and a folder has no revisions."""
        is_commit = _COMMIT.fullmatch(self.revision or "") is not None
        return self.artefact is not None or (is_commit and self.folder is None)


class ModelSpec(WeightsSpec):
    """Which language model to load."""

    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"


class EncoderSpec(WeightsSpec):
    """Which sentence encoder to load."""

    model: str = "sentence-transformers/all-MiniLM-L6-v2"

    @property
    def weights(self) -> "EncoderSpec":
        """The encoder alone, without the other settings of a simulator or scorer that uses it."""
        return EncoderSpec(**{name: getattr(self, name) for name in EncoderSpec.model_fields})


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that a field may hold; an optional one is a union, and so are kinds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_in(inner)]
