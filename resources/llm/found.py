"""What a server was found to be able to do, kept beside its answers from run to run.

What was found tells the next run in which form to ask. It is never the last word: what a run rests on is
tried anew before it, for another server may stand at the address by then.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.capabilities import Capabilities
from neuroscribe.ports.stores import CallStore
from resources.llm.faults import Endpoint

_VERSION = 1
"""Raise when the code that tries servers finds other things."""


class Found:
    """The capabilities of one model at one address; without a store they are kept for this object's life."""

    def __init__(self, endpoint: Endpoint, calls: CallStore | None) -> None:
        self._calls = calls
        self._key = fingerprint("capabilities", _VERSION, endpoint.url, endpoint.model, endpoint.wire.name)
        self._proven = set[str]()
        stored = (calls.get(self._key) if calls else None) or {}
        self.now = Capabilities(**_known(stored))

    def record(self, **found: bool | int) -> None:
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


def _known(stored: Mapping[str, object]) -> dict[str, Any]:
    names = {field.name for field in fields(Capabilities)}
    return {name: value for name, value in stored.items() if name in names}
