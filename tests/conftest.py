"""Settings that all tests share."""

import os
import signal

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Dagster ends its log watchers by SIGINT and waits a minute for those that ignore it, as the background jobs
# of a script and their children do.
signal.signal(signal.SIGINT, signal.default_int_handler)
