"""Settings that all tests share."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Not below the first test's own cache, which is gone for the next run.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parent.parent / ".cache" / "numba"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Dagster ends its log watchers by SIGINT and waits a minute for those that ignore it, as the background jobs
# of a script and their children do.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine makes any example slow; how long one takes is no property of the code.
settings.register_profile("untimed", deadline=None)
# For attacks on what comes in: pytest --hypothesis-profile=long tests/fuzz
settings.register_profile("long", deadline=None, max_examples=20_000)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, or one worker would end with them while the other waits."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
