"""Keeps what numba has compiled for the next process, where numba is told to or else beside the source.

It spares a minute and is no result: where nothing can be kept, or what was kept is damaged, the code is
compiled again, and no run ends for it.
"""

# pyright: basic
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba.core.caching import FunctionCache


class _Spare(FunctionCache):
    """Numba's own store of one function's code, which is done without when the disk is full or damaged."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code for a signature, None where there is none that can be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            with suppress(Exception):
                self.flush()  # so that the next process finds what this one keeps
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code for a signature, if it can be."""
        with suppress(Exception):
            super().save_overload(sig, data)


def kept(compiled: Callable) -> Callable:
    """Return a function of numba's that keeps its code, where there is a place for it."""
    with suppress(RuntimeError):  # no folder can be written
        # What `cache=True` does, but for the class.
        compiled._cache = _Spare(compiled.py_func)  # pyright: ignore[reportFunctionMemberAccess]
    return compiled
