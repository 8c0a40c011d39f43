"""Puts questions to a server in the forms that it takes, and remembers which those are from run to run.

What was found tells the next run in which form to ask. It is never the last word: what a run rests on is
tried anew before it, for another server may stand at the address by then.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any

from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.capabilities import Capabilities
from neuroscribe.ports.replies import Message, Reply, Usage
from neuroscribe.ports.silent import Silent
from neuroscribe.ports.stores import CallStore, Progress
from resources.llm.faults import Endpoint, RejectedError, UnansweredError, WithheldError
from resources.llm.refusals import SYSTEM, part_at_fault, refused_part
from resources.llm.transport import Transport
from resources.llm.wires import Body, PromptStyle, Question, Request, SchemaForm, Wire, failed, mapping

Answered = tuple[Body, Usage]
_VERSION = 1
"""Raise when the code that tries servers finds other things."""


class Found:
    """The capabilities of one model at one address; without a store they are kept for this object's life."""

    def __init__(self, endpoint: Endpoint, calls: CallStore | None, progress: Progress | None = None) -> None:
        self._calls, self._endpoint, self._progress = calls, endpoint, progress or Silent()
        self._key = fingerprint("capabilities", _VERSION, endpoint.url, endpoint.model, endpoint.wire.name)
        self._proven = set[str]()
        stored = (calls.get(self._key) if calls else None) or {}
        self.now = Capabilities(**_known(stored))
        endpoint.wire.refused = frozenset(self.now.refused)
        self._tell()

    def record(self, **found: bool | int | tuple[str, ...]) -> None:
        """Keep what was found, in place of what was found before."""
        self._proven = (self._proven - found.keys()) | {name for name, value in found.items() if value}
        changed = replace(self.now, **found)
        if changed != self.now:
            self.now = changed
            if self._calls is not None:
                self._calls.put(self._key, asdict(changed))

    def is_proven(self, name: str) -> bool:
        """Tell whether something has worked for this object, and not in an earlier run alone."""
        return name in self._proven

    @contextmanager
    def tried_anew(self) -> Iterator[None]:
        """Ask without what was learnt of refused parts, and keep what is learnt instead unless that fails."""
        before, self.now = self.now, replace(self.now, refused=())
        self._endpoint.wire.refused = frozenset()
        try:
            yield
        except BaseException:
            self.record(refused=tuple(before.refused))
            self._endpoint.wire.refused = frozenset(before.refused)
            raise
        if before.refused and not self.now.refused and self._calls is not None:
            self._calls.put(self._key, asdict(self.now))

    def keep_refused(self, wire: Wire, learnt: set[str]) -> None:
        """Keep what a server was found not to take, and tell it: without a seed nothing comes twice."""
        if wire is self._endpoint.wire and not learnt <= set(self.now.refused):
            self.record(refused=tuple(sorted(learnt.union(self.now.refused))))
            self._tell()

    def _tell(self) -> None:
        if self.now.refused:
            asked = f"{self._endpoint.model} is asked without {' and '.join(self.now.refused)}"
            label = f"{asked}, which {self._endpoint.url} does not take"
            with self._progress.task(label, total=1, unit="findings") as advance:
                advance(1)


def _known(stored: Mapping[str, object]) -> dict[str, Any]:
    names = {field.name for field in fields(Capabilities)}
    known: dict[str, Any] = {name: value for name, value in stored.items() if name in names}
    refused = known.get("refused")
    return {**known, "refused": tuple(map(str, refused)) if isinstance(refused, list | tuple) else ()}


class Asking:
    """One model asked by one wire."""

    def __init__(self, transport: Transport, found: Found, wire: Wire) -> None:
        self.transport, self.found, self.wire = transport, found, wire

    def hasty(self) -> "Asking":
        """Return the same with few retries, for calls that are to find a mistake before the run."""
        other = copy.copy(self)
        other.transport = self.transport.hasty()
        return other

    def by(self, wire: Wire) -> "Asking":
        """Return the same model asked in another way."""
        other = copy.copy(self)
        other.wire = wire
        return other

    async def replied(self, question: Question) -> Reply:
        """Return the reply to a question, which is refused or failed where no answer came."""
        try:
            if question.schema is None:
                return self.wire.reply(*await self.asked(question))
            return self.wire.reply(*await self._structured(question))
        except WithheldError as turned_away:
            return failed(str(turned_away), status="refused")
        except UnansweredError as unanswered:
            return failed(str(unanswered), usage=unanswered.usage)

    async def asked(self, question: Question) -> Answered:
        """Return what comes back for a question."""
        return await self.answered(partial(self.wire.request, question))

    async def answered(self, request: Callable[[], Request]) -> Answered:
        """Return what comes back for a request, made anew without one part after the other that is refused.

        What was left out in vain is asked for again in later requests; what helped is kept on record.
        """
        tried: list[Request] = []
        learnt: set[str] = set()
        refusal: RejectedError | UnansweredError | None = None
        unnamed: RejectedError | UnansweredError | None = None
        # Calls in flight may learn together: a request that has changed meanwhile is worth an attempt, too.
        # One that fails takes back what it learnt; no other may stumble over that, so each keeps its own.
        while (sent := request()) not in tried:
            tried.append(sent)
            try:
                answer = await self.transport.answered(sent)
            except (RejectedError, UnansweredError) as error:
                named = self._refused(error, sent)
                # What has to do with none of the parts is the reason that the user needs.
                refusal, unnamed = error, unnamed or (None if named else error)
                learnt |= named
                self.wire.refused |= learnt
            else:
                if learnt:
                    self.wire.refused |= learnt
                    self.found.keep_refused(self.wire, learnt)
                return answer
        self.wire.refused -= learnt.difference(self.found.now.refused)
        assert refusal is not None, "every request is tried once"
        raise unnamed or refusal

    def _refused(self, error: RejectedError | UnansweredError, sent: Request) -> set[str]:
        """Return what a server refuses, be it known by now; nothing where it names nothing that was sent."""
        optional = self.wire.optional(sent)
        if isinstance(error, RejectedError):
            part = refused_part(error.said, error.sent, sent.body, optional)
        else:
            part = None if error.billed else part_at_fault(str(error), optional)
        return {part} if part else set()

    async def proven(self, question: Question) -> Reply:
        """Return the reply to a sample of what a run will ask; it is asked without a system where that helps.

        Servers say in many ways, and some in none, that a model's template knows no system.
        """
        rejected: RejectedError | None = None
        try:
            reply = await self.replied(question)
        except RejectedError as error:
            reply, rejected = failed(str(error)), error
        may_help = rejected.status in _FORM_REJECTED if rejected else reply.raw.startswith(_OWN_FAULT)
        if reply.status == "failed" and may_help:
            reply = await self._without_system(question) or reply
        if reply.status == "failed" and rejected:
            raise rejected
        return reply

    async def _without_system(self, question: Question) -> Reply | None:
        """Return the reply to a question without turns of the system; None where that does not help."""
        if SYSTEM not in self.wire.optional(self.wire.request(question)):
            return None
        before = self.wire.refused
        self.wire.refused = before | {SYSTEM}
        reply = await self._tried(question)
        self.wire.refused = before
        if reply.status == "failed":
            return None
        # A fault may have passed meanwhile, and then the turns were not its cause.
        again = await self._tried(question)
        if again.status != "failed":
            return again
        self.wire.refused = before | {SYSTEM}
        self.found.keep_refused(self.wire, {SYSTEM})
        return reply

    async def _tried(self, question: Question) -> Reply:
        try:
            return await self.replied(question)
        except RejectedError as rejected:
            return failed(str(rejected))

    async def _structured(self, question: Question) -> Answered:
        """Post with the firmest request for JSON that the server takes, and remember which that is."""
        refusal: RejectedError | UnansweredError | None = None
        refused: dict[str, bool] = {}
        for form in schema_forms(self):
            try:
                answer = await self.asked(replace(question, form=form))
            except (RejectedError, UnansweredError) as error:
                if not _is_about_forms(error, self.wire):
                    raise
                refusal = refusal or error
                refused[form] = False
            else:
                self.found.record(**refused)
                return answer
        assert refusal is not None, "the prompt alone is always tried"
        raise refusal


def schema_forms(asking: Asking) -> Iterator[SchemaForm]:
    """Yield the ways to ask for JSON that the server is not known to lack, the firmest first."""
    for form in asking.wire.forms:
        if getattr(asking.found.now, form, None) is not False:
            yield form


_FORM_REJECTED = (400, 415, 422, 501)
_OWN_FAULT = "HTTP 500"
"""What the text of an error begins with that may be a template's."""


def _is_about_forms(refusal: RejectedError | UnansweredError, wire: Wire) -> bool:
    """Tell whether another form might be taken where this one was not."""
    if isinstance(refusal, RejectedError):
        return refusal.status in _FORM_REJECTED
    # Half an answer may hold such words as well.
    return not refusal.billed and any(word in str(refusal).lower() for word in wire.form_words)


_KEY, _VALUE = "a_word_no_model_says", "zwieback"
_SCHEMA = {
    "type": "object",
    "properties": {_KEY: {"type": "string", "enum": [_VALUE]}},
    "required": [_KEY],
    "additionalProperties": False,
}
"""What nothing but the schema itself leads to."""
_TOKENS = 40


async def try_style(asking: Asking, style: PromptStyle) -> None:
    """Find out whether the server answers in the style that `asking` asks in, where that is not known."""
    if getattr(asking.found.now, style) is None:
        with suppress(UnansweredError):
            asking.found.record(**{style: await _answers(asking)})


async def try_json(asking: Asking) -> None:
    """Find out whether answers are held to a schema, and to JSON, where that is not known."""
    known = asking.found.now
    if known.json_schema is None:
        with suppress(UnansweredError):
            sent = await _json(asking, "json_schema", "Answer in JSON.")
            asking.found.record(json_schema=sent == {_KEY: _VALUE})
    if known.json_object is None:
        with suppress(UnansweredError):
            sent = await _json(asking, "json_object", "Write a JSON object with the key colour.")
            asking.found.record(json_object=bool(mapping(sent)))


async def _answers(asking: Asking) -> bool:
    """Tell whether a question is answered; raises UnansweredError where the server may yet do so."""
    question = Question([Message("user", "Say yes.")], 16, temperature=0.0, seed=0)
    try:
        return asking.wire.reply(*await asking.asked(question)).status != "failed"
    except RejectedError:
        return False


async def _json(asking: Asking, form: SchemaForm, asked: str) -> Any:
    """Return the JSON that a form brings, or None.

    Raises UnansweredError where nothing came that has to do with the form.
    """
    turns = [Message("user", asked)]
    question = Question(turns, _TOKENS, temperature=0.0, seed=0, schema=_SCHEMA, form=form)
    try:
        return json.loads(asking.wire.reply(*await asking.asked(question)).text or "")
    except (RejectedError, ValueError):
        return None
    except UnansweredError as unanswered:
        if not _is_about_forms(unanswered, asking.wire):
            raise
        return None
