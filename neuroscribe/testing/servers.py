"""A real HTTP server on this machine that speaks the OpenAI protocol and answers from a script.

It serves tests and demonstrations of everything that goes over the wire: replies, prompts echoed with
log-probabilities in several dialects, and faults in a given order. It counts what it is asked.
"""

import json
import socket
import struct
import threading
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Protocol, cast, runtime_checkable

from neuroscribe.fingerprint import fingerprint
from neuroscribe.testing.server_batches import Batches, multipart
from neuroscribe.testing.server_bodies import (
    Dialect,
    answer_body,
    echo_body,
    first_token_logprobs,
    in_form,
    models_body,
    tokenised,
)
from neuroscribe.testing.server_faults import ScriptedFault as ScriptedFault


@runtime_checkable
class Script(Protocol):
    """What the model behind the server says."""

    def reply(self, prompt: str) -> str | ScriptedFault:
        """Answer a prompt; chat messages are joined by blank lines."""
        ...

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        """Return the value, 0 to 9, that the model gives each token of a simulation prompt."""
        ...


@runtime_checkable
class FirstTokens(Protocol):
    """A script that also says how likely the first tokens of its answers are."""

    def first_tokens(self, prompt: str) -> Mapping[str, float]:
        """Return the probability of each likely first token; chat messages are joined by blank lines."""
        ...


class ScriptedServer:
    """A server for the time of a `with` block; `faults` are used up, one per request, before any answer.

    With `api_key`, requests without it are refused, in words that quote the key that was sent. `json_forms`
    are the kinds of `response_format` that are taken; a script's reply that is no JSON becomes JSON then.
    First tokens have at most `most_logprobs` log-probabilities, and none in the dialect `no_logprobs`.
    What it `refuses` are fields of requests, and turns of the `system`. Without `batches` it knows no jobs.
    """

    def __init__(
        self,
        script: Script,
        *,
        model: str = "scripted",
        dialect: Dialect = "legacy",
        json_forms: Collection[str] = ("json_schema", "json_object"),
        most_logprobs: int = 20,
        faults: Iterable[ScriptedFault] = (),
        api_key: str = "",
        batches: Batches | None = None,
        refuses: Collection[str] = (),
    ) -> None:
        self.faults = list(faults)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Path and JSON body of every request, in order of arrival."""
        self.headers: list[dict[str, str]] = []
        """Headers of every request in the same order, with names in lower case."""
        self.most_at_once = 0
        """The largest number of requests that were ever in work together."""
        self._script, self._model, self._api_key = script, model, api_key
        self._dialect: Dialect = dialect
        self._json_forms, self._most_logprobs = json_forms, most_logprobs
        self._batches, self.refuses = batches, refuses
        self._lock = threading.Lock()
        self._in_work = 0
        self._closing = threading.Event()

    def __enter__(self) -> "ScriptedServer":
        self._http = _HTTPServer(self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def base_url(self) -> str:
        """Address for clients, ending in /v1."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def count(self, path: str) -> int:
        """Return how many requests named `path`, for instance `/v1/completions`."""
        return sum(called == path for called, _ in self.calls)

    def answer(self, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> ScriptedFault:
        """Return what to send for one request, once any delay is over; headers have names in lower case."""
        with self._lock:
            self.calls.append((path, body))
            self.headers.append(dict(headers))
            self._in_work += 1
            self.most_at_once = max(self.most_at_once, self._in_work)
            fault = self.faults.pop(0) if self.faults else ScriptedFault()
        try:
            self._closing.wait(fault.delay_s)
            if fault.status is not None or fault.reset:
                return fault
            if refused := self._refused(headers):
                return refused
            sent = {"copies": fault.copies, "again_later": fault.again_later, "cut_at": fault.cut_at}
            return replace(self._scripted(path, body), **sent)
        finally:
            with self._lock:
                self._in_work -= 1

    def _refused(self, headers: Mapping[str, str]) -> ScriptedFault | None:
        """Return what is sent to a client without the key."""
        sent = headers.get("authorization", "")
        if self._api_key and sent != f"Bearer {self._api_key}":
            return ScriptedFault.error(401, f"Incorrect API key provided: {sent}")
        return None

    def _scripted(self, path: str, body: dict[str, Any]) -> ScriptedFault:
        if refused := self._refusal(body):
            return ScriptedFault.error(400, refused)
        try:
            match path, body:
                case "/v1/models", _:
                    return ScriptedFault(200, models_body(self._model))
                case "/v1/chat/completions", {"messages": messages}:
                    prompt = "\n\n".join(message["content"] for message in messages)
                    return self._replied(prompt, body, chat=True)
                case "/v1/completions", {"prompt": str(prompt), "echo": True}:
                    known = {"model": self._model, "name": _name(body)}
                    echo = echo_body(body, self._script.digits, dialect=self._dialect, **known)
                    return ScriptedFault(200, echo)
                case "/v1/completions", {"prompt": str(prompt)}:
                    return self._replied(prompt, body, chat=False)
                case _ if self._batches is not None and path.startswith(("/v1/files", "/v1/batches")):
                    return self._batches.answer(path, body, self._scripted)
                case _:
                    return ScriptedFault.error(404, f"there is nothing at {path}")
        except Exception as error:
            # A failing script must stop its test, and only 4xx is not tried again.
            return ScriptedFault.error(400, f"the script failed: {error!r}")

    def _refusal(self, body: dict[str, Any]) -> str:
        """Return why this server does not take a request, if it does not."""
        roles = [turn["role"] for turn in body.get("messages", ())]
        if refused := next((name for name in self.refuses if name in {*body, *roles}), ""):
            return "System role not supported" if refused == "system" else f"Unknown parameter: '{refused}'."
        form = cast(dict[str, Any], body.get("response_format") or {}).get("type")
        if form and form not in self._json_forms:
            return f"Invalid parameter: 'response_format' of type '{form}' is not supported with this model."
        wanted = body.get("top_logprobs", body.get("logprobs", 0))
        if wanted > self._most_logprobs:
            return f"logprobs must be {self._most_logprobs} or less"
        return ""

    def _replied(self, prompt: str, request: dict[str, Any], *, chat: bool) -> ScriptedFault:
        said = self._script.reply(prompt)
        if isinstance(said, ScriptedFault):
            return said
        said = in_form(said, request.get("response_format"))
        logprobs = None
        if request.get("logprobs") and self._dialect != "no_logprobs":
            likely = self._likely(prompt, said)
            wanted = int(request.get("top_logprobs", request["logprobs"]))
            legacy = not chat and self._dialect == "legacy"
            logprobs = first_token_logprobs(likely, wanted, legacy=legacy)
        told = {"model": self._model, "name": _name(request)}
        return ScriptedFault(200, answer_body(prompt, said, chat=chat, logprobs=logprobs, **told))

    def _likely(self, prompt: str, said: str) -> Mapping[str, float]:
        if isinstance(self._script, FirstTokens):
            return self._script.first_tokens(prompt)
        return {(tokenised(said) or ["\n"])[0]: 0.99, "...": 0.005}


class _HTTPServer(ThreadingHTTPServer):
    """Gives handlers the script, and keeps quiet about clients that hang up."""

    request_queue_size = 128

    def __init__(self, scripted: ScriptedServer) -> None:
        self.scripted = scripted
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        """Bind without asking for this machine's name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is part of the tests."""


def _name(request: dict[str, Any]) -> str:
    """Return an answer's id: another for every request, and the same in every run."""
    return fingerprint("scripted answer", json.dumps(request, sort_keys=True))[:16]


class _Handler(BaseHTTPRequestHandler):
    """Passes requests to the scripted server and its answers to the client."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together; apart, each answer waits 40 ms for the client's ACK
    overdue: ScriptedFault | None = None

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        self._answer(multipart(kind, data) if kind.startswith("multipart/") else json.loads(data))

    def _answer(self, body: dict[str, Any]) -> None:
        scripted = cast(_HTTPServer, self.server).scripted
        answer = scripted.answer(self.path, body, {name.lower(): sent for name, sent in self.headers.items()})
        if answer.reset:
            self._hang_up()
            return
        with suppress(ConnectionError):
            if self.overdue:
                self._send(self.overdue)
            self.overdue = answer if answer.again_later else None
            for _ in range(answer.copies):
                self._send(answer)
            if answer.cut_at is not None:
                self.wfile.flush()
                self._hang_up()

    def _send(self, answer: ScriptedFault) -> None:
        data = answer.body if isinstance(answer.body, bytes) else answer.body.encode()
        self.send_response(answer.status or 200)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: answer.cut_at])

    def _hang_up(self) -> None:
        """Close at once and without a farewell, so that the client sees a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the standard error for what matters."""
