"""Batch jobs as a scripted server does them: after so many looks, late, in part, or in disorder."""

import json
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any, Literal, cast

from neuroscribe.testing.server_faults import ScriptedFault

Scripted = Callable[[str, dict[str, Any]], ScriptedFault]
"""Answers one request: path and body."""


@dataclass
class Batches:
    """The batch jobs of one server.

    A job ends at the `looks`-th look at it, as `ends` says. Of an expired one only the first
    `before_expiry` lines are answered. Lines at the places in `failing` come back with a server error that
    says `failure`; `stray` lines are put before the output, and with `doubled` every line comes twice.
    Letters beyond ASCII are written as they are where answers are `unescaped`.
    """

    looks: int = 1
    ends: Literal["completed", "failed", "expired", "cancelled"] = "completed"
    before_expiry: int = 0
    failing: Collection[int] = ()
    failure: str = "overloaded"
    stray: tuple[str, ...] = ()
    doubled: bool = False
    unescaped: bool = False
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """The jobs by id, as they are described to clients."""
    files: dict[str, str] = field(default_factory=dict[str, str])
    """Contents by id."""
    gone: set[str] = field(default_factory=set[str])
    """Ids of files that are not kept any more."""
    _looked: dict[str, int] = field(default_factory=dict[str, int])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lines(self, job_id: str) -> list[dict[str, Any]]:
        """Return the requests that a job was submitted with."""
        return [json.loads(line) for line in self.files[self.jobs[job_id]["input_file_id"]].splitlines()]

    def answer(self, path: str, body: dict[str, Any], scripted: Scripted) -> ScriptedFault:
        """Return what is sent for a request about files or jobs; `scripted` answers a job's lines."""
        with self._lock:
            match path.partition("?")[0].split("/")[2:], body:
                case ["files"], {"file": str(text)}:
                    return _sent({"id": self._kept(text), "object": "file", "purpose": body["purpose"]})
                case ["files", file, "content"], _ if file in self.files.keys() - self.gone:
                    return ScriptedFault(200, self.files[file])
                case ["batches"], {"input_file_id": _}:
                    return _sent(self._begun(body))
                case ["batches"], _:
                    return _sent({"object": "list", "data": [*reversed(self.jobs.values())]})
                case ["batches", job_id], _ if job_id in self.jobs:
                    return _sent(self._looked_at(self.jobs[job_id], scripted))
                case _:
                    return ScriptedFault.error(404, f"there is nothing at {path}")

    def _kept(self, text: str) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = text
        return name

    def _begun(self, body: Mapping[str, Any]) -> dict[str, Any]:
        job_id = f"batch_{len(self.jobs)}"
        total = len(self.files[body["input_file_id"]].splitlines())
        self.jobs[job_id] = {
            **body,
            "id": job_id,
            "object": "batch",
            "created_at": 0,
            "status": "validating",
            "request_counts": {"total": total, "completed": 0, "failed": 0},
        }
        return self.jobs[job_id]

    def _looked_at(self, job: dict[str, Any], scripted: Scripted) -> dict[str, Any]:
        looked = self._looked[job["id"]] = self._looked.get(job["id"], 0) + 1
        if looked == self.looks:
            self._end(job, scripted)
        elif looked < self.looks:
            job["status"] = "in_progress"
        return job

    def _end(self, job: dict[str, Any], scripted: Scripted) -> None:
        job["status"] = self.ends
        if self.ends == "failed":
            error = {"code": "invalid", "message": "line 1 is no request"}
            job["errors"] = {"object": "list", "data": [error]}
            return
        lines = self.lines(job["id"])
        answered = lines if self.ends == "completed" else lines[: self.before_expiry]
        output, errors = list(self.stray), list[str]()
        for place, line in enumerate(answered):
            sent = ScriptedFault.error(500, self.failure)
            if place not in self.failing:
                sent = scripted(line["url"], line["body"])
            (output if sent.status == 200 else errors).append(
                _line(line["custom_id"], sent, ensure_ascii=not self.unescaped)
            )
        for line in lines[len(answered) :]:
            error = {"code": "batch_expired", "message": "the job has expired"}
            errors.append(json.dumps({"custom_id": line["custom_id"], "response": None, "error": error}))
        for name, sent_back in (("output_file_id", output), ("error_file_id", errors)):
            if sent_back:
                job[name] = self._kept("".join(f"{line}\n" for line in sent_back * (1 + self.doubled)))
        job["request_counts"] |= {"completed": len(output) - len(self.stray), "failed": len(errors)}


def multipart(content_type: str, data: bytes) -> dict[str, Any]:
    """Return the fields of a form that was sent with a file, as text."""
    message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + data)
    fields: dict[str, Any] = {}
    for part in cast(list[Any], message.get_payload()):
        name = part.get_param("name", header="content-disposition")
        fields[str(name)] = part.get_payload(decode=True).decode()
    return fields


def _sent(body: Mapping[str, Any]) -> ScriptedFault:
    return ScriptedFault(200, json.dumps(body))


def _line(custom_id: str, sent: ScriptedFault, *, ensure_ascii: bool) -> str:
    response = {"status_code": sent.status, "request_id": "r", "body": json.loads(sent.body)}
    line = {"id": f"line_{custom_id[:8]}", "custom_id": custom_id, "response": response, "error": None}
    return json.dumps(line, ensure_ascii=ensure_ascii)
