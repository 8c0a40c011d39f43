"""What S3 may answer instead of doing what was asked: what passes is waited for, what never can is told.

A server that is down, cuts connections or asks for fewer requests is asked again, less and less often, for as
long as this process is patient. Wrong credentials, a bucket that is not there, another region: never again.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from resources.progress import ProgressDisplay

T = TypeVar("T")
WAIT_VARIABLE = "NEUROSCRIBE_S3_WAIT_MINUTES"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_QUIET_S = 1.0
"""A connection that is cut now and then is no news."""
_UNKNOWN_S = 120.0
"""How long a server is waited for that has not answered this process yet: the address may be wrong."""
_TIMES_REPLACED = 5
"""How often a file is read again that others replace while it is read."""
_PASSING = {"SlowDown", "RequestTimeout", "IncompleteBody", "OperationAborted", "ConditionalRequestConflict"}
_WITHOUT_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "TokenRetrievalError",
    "CredentialRetrievalError",
)
"""What the S3 client calls its errors when it knows nobody to sign for."""
_ELSEWHERE = (
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
)


class ReplacedError(OSError):
    """A file is another than the one of which a part was read before."""


@dataclass
class _Patience:
    """How long this process waits, which servers have answered it, and for which it is shown to wait."""

    seconds: float = 1800.0
    answered: set[str] = field(default_factory=set[str])
    showing: set[str] = field(default_factory=set[str])
    lock: threading.Lock = field(default_factory=threading.Lock)


_PATIENCE = _Patience()


def wait_for_s3(seconds: float) -> float:
    """Set how long this process waits for an S3 server that is down; return how long it did before.

    The process has one patience, as it has one standard error: all that reads and writes shares it.
    """
    before, _PATIENCE.seconds = _PATIENCE.seconds, seconds
    return before


def is_remote(path: object) -> bool:
    """Tell whether a path leads to S3."""
    return str(path).startswith("s3://")


def patient(path: object, work: Callable[[], T]) -> T:
    """Return what `work` on a path brings, asked again on S3 while it is replaced or does not answer."""
    if not is_remote(path):
        return unreplaced(work)
    server, pauses = _server(path), _pauses()
    since: float | None = None
    with ExitStack() as closing:
        show: Callable[[float, Exception], None] | None = None
        while True:
            try:
                result = unreplaced(work)
                _PATIENCE.answered.add(server)
                return result
            except Exception as error:
                if _answer(error) is not None:
                    _PATIENCE.answered.add(server)
                gone, since = 0 if since is None else time.monotonic() - since, since or time.monotonic()
                left = _patience_for(server) - gone
                if left <= 0 or not may_pass(error):
                    raise
                if gone >= _QUIET_S:
                    show = show or _shown(server, closing)
                    show(gone, error)
                time.sleep(min(next(pauses), left))


def unreplaced(work: Callable[[], T]) -> T:
    """Return what reading a file brings, read again at once where others replaced it meanwhile."""
    for _ in range(_TIMES_REPLACED):
        try:
            return work()
        except ReplacedError:
            continue
        except OSError as error:
            if not _is_replaced(error):
                raise
    return work()


def may_pass(error: BaseException) -> bool:
    """Tell whether the same request may succeed later."""
    if _is_replaced(error) or type(error).__name__ in _WITHOUT_CREDENTIALS:
        return False
    answer = _answer(error)
    if answer is None:
        return isinstance(error, _unanswered()) and "CERTIFICATE_VERIFY_FAILED" not in str(error)
    status, code, _ = answer
    return code in _PASSING or status == 429 or (status >= 500 and status != 501)


def answered_with(error: BaseException) -> tuple[int, str]:
    """Return the HTTP status and S3's code in an error, (0, "") where no server answered."""
    status, code, _ = _answer(error) or (0, "", {})
    return status, code


def service_errors(path: object) -> tuple[type[Exception], ...]:
    """Return what the S3 client raises beside OSError; evaluated only when something was raised."""
    if not is_remote(path):
        return ()
    from botocore.exceptions import BotoCoreError, ClientError
    from s3fs.core import S3_RETRYABLE_ERRORS

    return (BotoCoreError, ClientError, *S3_RETRYABLE_ERRORS)


def remedy(error: Exception, elsewhere: str) -> str:
    """Return what is wrong and what to do, of which choosing `elsewhere` may be part."""
    if _is_replaced(error):
        return "another process replaces it again and again; let one process at a time run a study"
    if type(error).__name__ in _WITHOUT_CREDENTIALS:
        return (
            "there are no whole credentials for S3; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"
            " AWS_PROFILE"
        )
    if may_pass(error):
        return (
            f"S3 {'is too busy' if _answer(error) else 'does not answer'}; check the endpoint"
            f" (NEUROSCRIBE_S3_ENDPOINT) and the network, or wait longer ({WAIT_VARIABLE}), then start again"
        )
    return _refusal(error, elsewhere)


def _refusal(error: Exception, elsewhere: str) -> str:
    """Return the same for what a server has refused."""
    status, code, headers = _answer(error) or (0, "", {})
    match code:
        case "InvalidAccessKeyId":
            return "S3 does not know this access key; correct AWS_ACCESS_KEY_ID or the endpoint"
        case "SignatureDoesNotMatch":
            return "the secret key is not that of the access key; correct AWS_SECRET_ACCESS_KEY"
        case "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken":
            return "the credentials have expired; renew them and start again"
        case "RequestTimeTooSkewed":
            return "this machine's clock is wrong by more than S3 allows; set it and start again"
        case _ if code in _ELSEWHERE:
            region = headers.get("x-amz-bucket-region")
            named = f"={region}" if region else " to that of the bucket"
            return f"the bucket is in another region; set AWS_DEFAULT_REGION{named}"
        case _ if status == 403 or (not status and isinstance(error, PermissionError)):
            return (
                "access is denied; give these credentials the right to read and write the bucket, or correct"
                " them (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
            )
        case _ if status == 404 or (not status and isinstance(error, FileNotFoundError)):
            return f"the bucket does not exist; create it, or name {elsewhere}"
        case _:
            return (
                "S3 refuses, or what answers is no S3; check the endpoint (NEUROSCRIBE_S3_ENDPOINT), the"
                " region (AWS_DEFAULT_REGION) and the credentials"
            )


def _answer(error: BaseException) -> tuple[int, str, dict[str, str]] | None:
    """Return status, code and headers of the answer behind an error, None if no server gave one."""
    seen: BaseException | None = error
    while seen is not None:
        response: Any = getattr(seen, "response", None)
        if isinstance(response, dict) and "ResponseMetadata" in response:
            said = cast(dict[str, Any], response)
            about = said["ResponseMetadata"]
            code = str(said.get("Error", {}).get("Code", ""))
            return int(about.get("HTTPStatusCode", 0)), code, dict(about.get("HTTPHeaders", {}))
        seen = seen.__cause__ or seen.__context__
    return None


def _unanswered() -> tuple[type[BaseException], ...]:
    """Return the errors that say that no whole answer came."""
    from botocore.exceptions import ConnectionError as NoConnectionError
    from s3fs.core import S3_RETRYABLE_ERRORS

    return (*S3_RETRYABLE_ERRORS, NoConnectionError, ConnectionError, TimeoutError)


def _is_replaced(error: BaseException) -> bool:
    # The library's own error is named, for its import takes a second.
    return isinstance(error, ReplacedError) or type(error).__name__ == "FileExpired"


def _server(path: object) -> str:
    """Return what names a path's server and bucket in messages."""
    options: Any = getattr(path, "storage_options", {})
    bucket = str(path).removeprefix("s3://").partition("/")[0]
    return f"{options.get('endpoint_url') or 'AWS'}, bucket {bucket}"


def _patience_for(server: str) -> float:
    unknown = server != "" and server not in _PATIENCE.answered
    return min(_PATIENCE.seconds, _UNKNOWN_S) if unknown else _PATIENCE.seconds


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _shown(server: str, closing: ExitStack) -> Callable[[float, Exception], None]:
    """Open a task that shows how long a server is waited for; one for all that wait for it."""
    with _PATIENCE.lock:
        if server in _PATIENCE.showing:
            return _show_nothing
        _PATIENCE.showing.add(server)
    closing.callback(_PATIENCE.showing.discard, server)
    label = f"S3 ({server}) does not answer, trying again"
    task = ProgressDisplay().task(label, total=round(_patience_for(server)), unit="seconds")
    advance, shown = closing.enter_context(task), [0]

    def show(gone: float, error: Exception) -> None:
        advance(round(gone) - shown[0], note=(str(error) or type(error).__name__).splitlines()[0])
        shown[0] = round(gone)

    return show


def _show_nothing(gone: float, error: Exception) -> None:
    """Say nothing: another thread shows that the server is waited for."""
