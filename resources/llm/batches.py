"""A server asked by batch jobs: for half the price with some vendors, and answered within a day.

Questions are collected while they keep coming, and go out together. Which job holds a question is on record
before the job is submitted, so that a run that was killed, or that did not wait, finds its questions in open
or ended jobs and submits none of them again.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from neuroscribe.errors import BatchPendingError, LLMError
from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.replies import Message, Reply, Schema, Usage
from neuroscribe.ports.samples import Sample
from neuroscribe.ports.silent import Silent
from neuroscribe.ports.stores import CallStore, Progress
from resources.llm.asking import schema_forms, try_json
from resources.llm.batch_answers import Answers, Asked
from resources.llm.budget import Budget
from resources.llm.http import Client
from resources.llm.limits import TokenGuess
from resources.llm.openai_batches import BatchJobs, Job, Sleep, job_line
from resources.llm.prices import Prices
from resources.llm.server import Server
from resources.llm.wires import Question, Request, failed

if TYPE_CHECKING:
    import httpx2

WAIT_VARIABLE = "NEUROSCRIBE_LLM_BATCH_WAIT_MINUTES"
_MOMENT_S = 0.2
"""How long no question may have come before a job is submitted."""
_FIRST_LOOK_S, _LONGEST_LOOK_S, _GROWTH = 5.0, 300.0, 1.5
_TRANSFER_S = 600.0
_LINES, _BYTES = 50_000, 100_000_000
"""Most requests and bytes of one job: OpenAI takes as many requests, and twice the bytes."""


class BatchedServer:
    """One model behind batch jobs; fulfils the port LLM, and gives no log-probabilities.

    `prices` are those of batch jobs. A run waits for `wait_s` seconds of `clock` for a job and then ends with
    BatchPendingError. What is on record is kept in `calls`.
    """

    def __init__(
        self,
        server: Server,
        calls: CallStore,
        *,
        wait_s: float,
        prices: Prices | None = None,
        budget: Budget | None = None,
        progress: Progress | None = None,
        calls_at_once: int = 20_000,
        lines_per_job: int = _LINES,
        max_retries: int = 8,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        http_client: "httpx2.AsyncClient | None" = None,
    ) -> None:
        client = Client(server.endpoint, concurrency=4, timeout_s=_TRANSFER_S, http_client=http_client)
        self.endpoint, self.identity = server.endpoint, server.identity
        self.calls_at_once = calls_at_once
        """Questions that are collected before the first of them is answered."""
        self._server, self._progress = server, progress or Silent()
        self._records = _Records(calls, server.endpoint.url)
        patience_s = max(wait_s, _LONGEST_LOOK_S)
        self._jobs = BatchJobs(client, max_retries=max_retries, patience_s=patience_s, sleep=sleep)
        self._wait_s, self._prices, self._budget = wait_s, prices or Prices(), budget
        self._lines_per_job = lines_per_job
        self._sleep, self._clock = sleep, clock
        self._asked: dict[str, asyncio.Future[Reply]] = {}
        self._waiting: list[Request] = []
        self._collector: asyncio.Task[None] | None = None
        self._following: set[asyncio.Task[None]] = set()
        self._open: dict[str, Job] = {}
        self._forms = asyncio.Lock()

    async def check(self, samples: Sequence[Sample] = ()) -> None:
        """Make a tiny call of each form without a job; raises LLMError unless they and batch jobs work."""
        await self._server.check(samples)
        await self._jobs.check()

    async def reply(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        schema: Schema | None = None,
    ) -> Reply:
        """Answer a prompt when its job has ended; a request that came back unanswered is a failed reply.

        Raises BatchPendingError when the job takes longer than a run waits, and LLMError for a job that the
        server will not do.
        """
        question = Question(messages, max_tokens, temperature, seed, one_line=True, schema=schema)
        request = await self._request(question)
        answer = self._asked.get(request.custom_id)
        if answer is None:
            answer = self._asked[request.custom_id] = asyncio.get_running_loop().create_future()
            self._waiting.append(request)
            if self._collector is None or self._collector.done():
                self._collector = asyncio.ensure_future(self._collect())
        return await asyncio.shield(answer)

    async def _request(self, question: Question) -> Request:
        asking = self._server.asking
        if question.schema is not None:
            async with self._forms:  # a job cannot try one form after the other
                await try_json(asking)
            question = replace(question, form=next(schema_forms(asking)))
        return asking.wire.request(question)

    async def _collect(self) -> None:
        while self._waiting:
            seen = 0
            while seen != len(self._waiting):
                seen = len(self._waiting)
                await self._sleep(_MOMENT_S)
            requests, self._waiting = self._waiting, []
            try:
                await self._dispatch(requests)
            except Exception as error:
                self._fail(requests, error)

    async def _dispatch(self, requests: Sequence[Request]) -> None:
        """Answer from ended jobs, and have the rest followed in open and new ones."""
        new: list[Request] = []
        followed: list[tuple[Job, Asked, list[Request]]] = []
        for name, group in (await asyncio.to_thread(self._records.by_job, requests)).items():
            job = await self._on_record(name) if name else None
            asked = _asked(group, self._records.requests(name) if name else ())
            if job is not None and not job.has_ended:
                followed.append((job, asked, group))
            else:
                new += group if job is None else await self._unanswered(job, asked, group)
        for group in self._groups(new):
            followed.append((await self._submitted(group), _asked(group), group))
        for job, asked, group in followed:
            self._open[job.id] = job
            task = asyncio.ensure_future(self._follow(job, asked, group))
            self._following.add(task)
            task.add_done_callback(self._following.discard)

    async def _on_record(self, name: str) -> Job | None:
        job_id = self._records.job_id(name)
        # Without an id the run ended while it submitted the job, and only the server knows whether it did.
        return await (self._jobs.looked_at(job_id) if job_id else self._jobs.named(name))

    async def _unanswered(self, job: Job, asked: Asked, requests: Sequence[Request]) -> list[Request]:
        """Resolve what an ended job has answered, and return the rest, which is asked again."""
        answers = (await self._answers(job, asked)).replies
        good = {name: reply for name, reply in answers.items() if reply.status != "failed"}
        self._pay(job, _cost(requests, good))
        self._resolve([request for request in requests if request.custom_id in good], good, "")
        return [request for request in requests if request.custom_id not in good]

    async def _answers(self, job: Job, asked: Asked) -> Answers:
        return await self._jobs.answers(job, asked, wire=self._server.asking.wire, prices=self._prices)

    async def _submitted(self, group: Sequence[Request]) -> Job:
        """Put a job on record, then submit it; raises BudgetError where it may cost too much.

        What it may cost is owed from then on, since the job goes on whatever becomes of this run.
        """
        worst = self._worst(group)
        if self._budget is not None:
            await self._budget.reserve(worst)
        try:
            name = await asyncio.to_thread(self._records.begin, group)
            data = "".join(f"{job_line(request)}\n" for request in group).encode()
            job = await self._jobs.submitted(name, group[0].path, data)
            self._records.submitted(name, group, job.id)
        except BaseException:
            if self._budget is not None:
                self._budget.settle(worst, worst)
            raise
        if self._budget is not None:
            self._budget.owe(job.id, worst)
        return job

    async def _follow(self, job: Job, asked: Asked, requests: Sequence[Request]) -> None:
        """Resolve the requests of a job, and pay for what it has answered."""
        goes_on = False
        try:
            ended = await self._ended(job)
            answers = await self._answers(ended, asked)
            self._pay(job, _cost(requests, answers.replies))
            self._resolve(requests, answers.replies, _missing(ended, answers))
        except BatchPendingError as error:
            goes_on = True
            self._fail(requests, error)
        except Exception as error:
            self._fail(requests, error)
        finally:
            if not goes_on:
                self._open.pop(job.id, None)

    async def _ended(self, job: Job) -> Job:
        """Wait for a job; raises BatchPendingError after the time a run waits, LLMError if it is refused."""
        name, begun, interval, seen = job.id, self._clock(), _FIRST_LOOK_S, 0
        label = f"wait for batch job {name}"
        with self._progress.task(label, total=job.total, unit="requests") as advance:
            while not job.has_ended:
                left = self._wait_s - (self._clock() - begun)
                if left <= 0:
                    raise self._pending()
                await self._sleep(min(interval, left))
                interval = min(_GROWTH * interval, _LONGEST_LOOK_S)
                job = self._open[name] = await self._jobs.looked_at(name) or job
                advance(job.done - seen, note=job.status)
                seen = job.done
        if job.status == "failed":
            raise LLMError(
                f"{self.endpoint.url} refuses the batch job {job.id}"
                f" ({self.endpoint.without_key(job.errors) or 'no reason given'}); correct that, or"
                f" take batch = true out of the study's {self.endpoint.place.section}, and run again"
            )
        return job

    def _pay(self, job: Job, usd: float) -> None:
        if self._budget is not None:
            self._budget.pay(job.id, usd)

    def _pending(self) -> BatchPendingError:
        jobs = ", ".join(
            f"{job.id} ({job.done:,} of {job.total:,} requests done)" for job in self._open.values()
        )
        return BatchPendingError(
            f"batch jobs are under way at {self.endpoint.url}: {jobs}; they go on without this"
            " run, and the same command continues with what they have answered by then"
            f" ({WAIT_VARIABLE} says how long it waits)"
        )

    def _groups(self, requests: Sequence[Request]) -> Iterator[list[Request]]:
        """Yield requests in groups that fit into a job each."""
        group: list[Request] = []
        size = 0
        for request in requests:
            length = len(job_line(request)) + 1
            if group and (len(group) == self._lines_per_job or size + length > _BYTES):
                yield group
                group, size = [], 0
            group.append(request)
            size += length
        if group:
            yield group

    def _worst(self, group: Sequence[Request]) -> float:
        """Return the dollars that a job may cost at most."""
        usages = (Usage(TokenGuess().tokens(each.characters), 0, each.max_tokens) for each in group)
        return sum(self._prices.cost(usage) or 0.0 for usage in usages)

    def _resolve(self, requests: Sequence[Request], answers: Mapping[str, Reply], otherwise: str) -> None:
        for request in requests:
            waiting = self._asked.pop(request.custom_id)
            if not waiting.done():
                waiting.set_result(answers.get(request.custom_id) or failed(otherwise))

    def _fail(self, requests: Sequence[Request], error: Exception) -> None:
        for request in requests:
            waiting = self._asked.pop(request.custom_id, None)
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)


class _Records:
    """Which job of a server holds a question."""

    def __init__(self, calls: CallStore, url: str) -> None:
        self._calls, self._url = calls, url

    def by_job(self, requests: Sequence[Request]) -> dict[str, list[Request]]:
        """Return the requests by the name of the job that holds them, empty where none does."""
        groups: dict[str, list[Request]] = {}
        for request in requests:
            pointer = self._calls.get(self._pointer(request)) or {}
            groups.setdefault(str(pointer.get("job", "")), []).append(request)
        return groups

    def job_id(self, name: str) -> str:
        """Return the server's id for a job, empty where it is not on record."""
        return str((self._calls.get(name) or {}).get("id", ""))

    def requests(self, name: str) -> list[str]:
        """Return the names of the requests that a job was submitted with."""
        names = (self._calls.get(name) or {}).get("requests")
        return [str(each) for each in names] if isinstance(names, list) else []

    def begin(self, group: Sequence[Request]) -> str:
        """Put a job that is about to be submitted on record, and return the name for it."""
        ids = [request.custom_id for request in group]
        count = 0
        # The same requests may have been in a job that failed.
        while self.job_id(name := fingerprint("batch job", self._url, ids, count)):
            count += 1
        self._calls.put(name, {"requests": ids})
        for request in group:
            self._calls.put(self._pointer(request), {"job": name})
        return name

    def submitted(self, name: str, group: Sequence[Request], job_id: str) -> None:
        """Put the server's id for a job on record."""
        self._calls.put(name, {"requests": [request.custom_id for request in group], "id": job_id})

    def _pointer(self, request: Request) -> str:
        return fingerprint("batch request on record", self._url, request.custom_id)


def _asked(wanted: Sequence[Request], names: Iterable[str] = ()) -> Asked:
    """Return what a job was asked, of which some is wanted now; `names` are those of all its requests."""
    now = frozenset(request.custom_id for request in wanted)
    return Asked(now | frozenset(names), now, max(request.max_tokens for request in wanted))


def _missing(job: Job, answers: Answers) -> str:
    """Return what is said of a request that a job has not answered."""
    others = f"; {answers.passed_over:,} lines answer none of its requests" if answers.passed_over else ""
    return f"job {job.id} is {job.status} and has no line for the request{others}"


def _cost(requests: Sequence[Request], answers: Mapping[str, Reply]) -> float:
    """Return the dollars that the answers to these requests have cost, as far as it is known."""
    return sum(answers[r.custom_id].usage.cost_usd or 0.0 for r in requests if r.custom_id in answers)
