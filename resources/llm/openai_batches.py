"""Batch jobs at an OpenAI-compatible server: submitted, found again, looked at and downloaded.

What the server may yet do is tried again, and so is a success that describes no job. A job carries our name
for it, so that one whose submission was cut off in the middle is found instead of being submitted twice.
"""

import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from neuroscribe.errors import LLMError
from resources.llm.batch_answers import Answers, Asked, read_answers
from resources.llm.faults import RejectedError, UnansweredError
from resources.llm.http import Client, Connection, parts
from resources.llm.prices import Prices
from resources.llm.transport import backoff_s
from resources.llm.wires import Request, Wire, mapping

if TYPE_CHECKING:
    import openai
    from openai.pagination import AsyncCursorPage
    from openai.types import Batch, FileObject


def job_line(request: Request) -> str:
    """Return a request as a line of a job's input."""
    sent = {"custom_id": request.custom_id, "method": "POST", "url": f"/v1{request.path}"}
    return json.dumps({**sent, "body": request.body})


Result = TypeVar("Result")
Sleep = Callable[[float], Awaitable[None]]
_LABEL = "neuroscribe_job"
_WINDOW = "24h"
_PAGE, _PAGES = 100, 10
"""Newest jobs of the account among which one is looked for: so many at a time, so often."""
_GONE = (404, 410)
_UNREADABLE = (ValueError, AttributeError, TypeError, RecursionError)
"""What the client raises over a body that is not as its models say, which it does not check."""
_ENDED = ("failed", "completed", "expired", "cancelled", "canceled")
"""In lower case; whatever else a server says, something may still come of the job."""


@dataclass(frozen=True)
class Job:
    """A job as the server last described it."""

    id: str
    status: str
    done: int
    """Requests that were answered or have failed."""
    total: int
    files: tuple[str, ...]
    """Ids of its output and error files, as far as there are any."""
    errors: str
    """What is wrong with the job as a whole."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing further will come of it."""
        return self.status in _ENDED


class BatchJobs:
    """The jobs of one account; `sleep` waits between attempts, for `patience_s` in all for one answer."""

    def __init__(self, client: Client, *, max_retries: int, patience_s: float, sleep: Sleep) -> None:
        self._client, self._max_retries, self._sleep = client, max_retries, sleep
        self._patience_s = patience_s
        self._generator = random.Random(0)  # noqa: S311 - spreads retries

    async def check(self) -> None:
        """Raise LLMError where the server knows no batch jobs."""
        try:
            await self._described(lambda client: _listed(client, limit=1))
        except RejectedError as rejected:
            raise LLMError(
                f"{self._client.endpoint.url} has no batch jobs (HTTP {rejected.status}: {rejected.said});"
                f" take batch = true out of the study's {self._client.endpoint.place.section}"
            ) from None

    async def submitted(self, name: str, path: str, data: bytes) -> Job:
        """Return the job that answers the lines in `data`, under our `name` for it."""

        async def upload(client: "openai.AsyncOpenAI") -> "FileObject":
            return _described(await client.files.create(file=(f"{name}.jsonl", data), purpose="batch"))

        file = await self._described(upload)
        attempts = iter(range(self._max_retries + 1))

        async def create(client: "openai.AsyncOpenAI") -> "Batch":
            # An attempt that brought no answer may have brought about the job.
            made = await _named(client, name) if next(attempts) else None
            endpoint: Any = f"/v1{path}"
            return made or _described(
                await client.batches.create(
                    completion_window=_WINDOW,
                    endpoint=endpoint,
                    input_file_id=file.id,
                    metadata={_LABEL: name},
                )
            )

        return _job(await self._described(create))

    async def named(self, name: str) -> Job | None:
        """Return the job of that name, or None if the server has none."""
        batch = await self._described(lambda client: _named(client, name))
        return _job(batch) if batch else None

    async def looked_at(self, job_id: str) -> Job | None:
        """Return a job as it stands, or None if this account has none of that id."""

        async def look(client: "openai.AsyncOpenAI") -> "Batch":
            return _described(await client.batches.retrieve(job_id))

        try:
            return _job(await self._described(look))
        except RejectedError as rejected:
            if rejected.status in _GONE:
                return None
            raise

    async def answers(self, job: Job, asked: Asked, *, wire: Wire, prices: Prices) -> Answers:
        """Return the answers in a job's output and error files.

        A file that is gone has none: servers keep them for a while only.
        """

        async def fetched(connection: Connection, file: str) -> Answers:
            path = f"/files/{quote(file, safe='')}/content"
            async with self._client.response(connection, "GET", path) as response:
                answers = await read_answers(parts(response), asked, wire=wire, prices=prices)
            if answers is None:
                raise UnansweredError("no answer: a success without a batch job's answers")
            return answers

        found = Answers()
        for file in job.files:
            try:
                found |= await self._tried(lambda connection, file=file: fetched(connection, file))
            except RejectedError as rejected:
                if rejected.status not in _GONE:
                    raise
        return found

    async def _described(self, ask: Callable[["openai.AsyncOpenAI"], Awaitable[Result]]) -> Result:
        """Return what the server says of files and jobs."""
        import openai

        from resources.llm.openai_client import openai_client

        async def asked(connection: Connection) -> Result:
            try:
                return await ask(openai_client(self._client, connection))
            except openai.APIConnectionError as error:
                raise error.__cause__ or error from None
            except _UNREADABLE as error:
                raise UnansweredError(
                    f"no answer: a body that cannot be read ({type(error).__name__})"
                ) from None

        return await self._tried(asked)

    async def _tried(self, send: Callable[[Connection], Awaitable[Result]]) -> Result:
        attempt, waited_s = 0, 0.0
        while True:
            try:
                async with self._client.slot() as connection:
                    return await send(connection)
            except UnansweredError as error:
                met = error
            attempt += 1
            wait_s = backoff_s(attempt, self._generator, asked_s=met.retry_after_s)
            waited_s += wait_s
            if attempt > self._max_retries or waited_s > self._patience_s:
                raise LLMError(
                    met.unreachable
                    or f"{self._client.endpoint.url} says nothing of its batch jobs (attempt {attempt}:"
                    f" {met}; the next would be in {wait_s:,.0f} seconds); they are on record: run the same"
                    " command again when it is well"
                )
            await self._sleep(wait_s)


async def _named(client: "openai.AsyncOpenAI", name: str) -> "Batch | None":
    page = await _listed(client, limit=_PAGE)
    for _ in range(_PAGES):
        for batch in page.data:
            if mapping(getattr(batch, "metadata", None)).get(_LABEL) == name:
                return _described(batch)
        if not page.has_next_page():
            break
        page = _listing(await page.get_next_page())
    return None


async def _listed(client: "openai.AsyncOpenAI", *, limit: int) -> "AsyncCursorPage[Batch]":
    return _listing(await client.batches.list(limit=limit))


def _listing(sent: Result) -> Result:
    """Return a list of jobs; raises UnansweredError for what is none, which does not mean there are none."""
    if not isinstance(getattr(sent, "data", None), list):
        raise UnansweredError("no answer: a success without a list of batch jobs")
    return sent


def _described(sent: Result) -> Result:
    """Return a file or job; raises UnansweredError for what is none: the client takes web pages for them."""
    name = getattr(sent, "id", None)
    if not (isinstance(name, str) and name):
        raise UnansweredError("no answer: a success without the id of a file or batch job")
    return sent


def _job(batch: "Batch") -> Job:
    counts = batch.request_counts
    errors = (batch.errors.data if batch.errors else None) or []
    return Job(
        id=batch.id,
        status=str(batch.status).lower(),
        done=counts.completed + counts.failed if counts else 0,
        total=counts.total if counts else 0,
        files=tuple(file for file in (batch.output_file_id, batch.error_file_id) if file),
        errors="; ".join(str(error.message or error.code) for error in errors[:3]),
    )
