"""Files from a model hub, for those who can reach one; says so quickly when it cannot be reached."""

from collections.abc import Callable
from pathlib import Path

PROBE_SECONDS = 5.0


class SourceError(Exception):
    """A source does not have the bytes, or cannot be asked; its text says why, and the next one is tried."""


def reachable() -> bool:
    """Tell whether the hub answers; one attempt, since its client would retry for half a minute."""
    import httpx2
    import huggingface_hub
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=PROBE_SECONDS)
    except (httpx2.HTTPError, OfflineModeIsEnabled, OSError):
        return False
    return True


def download(
    repo: str, revision: str, names: list[str], target: Path, *, advance: Callable[..., None]
) -> None:
    """Put the named files of a repository's commit into `target`; what is there already is completed.

    Raises SourceError with the reason when any of them cannot be had; ask first whether it is `reachable`.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    for name in names:
        try:
            huggingface_hub.hf_hub_download(repo, name, revision=revision, local_dir=target)
        except (HfHubHTTPError, OSError) as error:
            raise SourceError(str(error).splitlines()[0]) from error
        advance(note=name)
