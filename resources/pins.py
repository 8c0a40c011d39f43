"""Pins of artefacts as data: which bytes they are, under which licence, and where copies of them lie."""

import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from neuroscribe.errors import ArtefactError
from neuroscribe.fingerprint import fingerprint
from neuroscribe.sections import FromList, Positive, Section

PINS_FILE = Path(__file__).with_name("artefacts.toml")


class PackageSource(Section):
    """Packages of a package index whose wheels hold the bytes; `{n}` in the name counts the parts."""

    name: str
    version: str
    parts: Positive = 1

    def requirements(self) -> list[str]:
        """Return what pip is asked for, in the order in which the parts are joined."""
        return [f"{self.name.format(n=n)}=={self.version}" for n in range(1, self.parts + 1)]


class HubSource(Section):
    """A model hub's repository at one commit, with the files under their own names."""

    repo: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class PinnedFile(Section):
    """One file: its name in the artefact, its path inside the wheel and what its bytes must be."""

    name: str
    member: str
    bytes: Positive
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @field_validator("name")
    @classmethod
    def stays_inside(cls, name: str) -> str:
        """Refuse a name that would be written outside the artefact's folder."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
            raise ValueError(f"{name!r} leaves the artefact's folder; use a relative name without `..`")
        return name

    def members(self, parts: int) -> list[str]:
        """Return the path inside the wheel of each part."""
        return [self.member.format(n=n) for n in range(1, parts + 1)]


class Pin(Section):
    """One artefact: one file, or a folder of several."""

    about: str
    licence: str
    package: PackageSource
    hub: HubSource | None = None
    files: Annotated[tuple[PinnedFile, ...], FromList]

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """Identity of the content: the hash of a single file, or the fingerprint of all names and hashes."""
        if len(self.files) == 1:
            return self.files[0].sha256
        return fingerprint(sorted((file.name, file.sha256) for file in self.files))


def read_pins(path: Path = PINS_FILE) -> dict[str, Pin]:
    """Read and check all pins; raises ArtefactError naming the file and what is wrong in it."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, Pin]).validate_python(data)
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ArtefactError(
            f"{path}: the pins of artefacts cannot be read ({error}); correct them"
        ) from error
