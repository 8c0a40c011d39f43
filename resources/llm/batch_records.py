"""Which batch job holds a question: on record before the job is submitted, so that none goes out twice."""

from collections.abc import Sequence

from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.stores import CallStore
from resources.llm.wires import Request


class BatchRecords:
    """The jobs of one server."""

    def __init__(self, calls: CallStore, url: str) -> None:
        self._calls, self._url = calls, url

    def by_job(self, requests: Sequence[Request]) -> dict[str, list[Request]]:
        """Return the requests by the name of the job that holds them; those of none under an empty one."""
        found: dict[str, list[Request]] = {}
        for request in requests:
            pointer = self._calls.get(self._pointer(request)) or {}
            found.setdefault(str(pointer.get("job", "")), []).append(request)
        return found

    def job_id(self, name: str) -> str:
        """Return the server's id for a job, empty where it is not on record."""
        return str((self._calls.get(name) or {}).get("id", ""))

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
