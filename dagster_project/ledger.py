"""What all LLM calls of a store took, by stage and model, and call by call in `ledger.parquet` beside them.

python -m dagster_project.ledger
"""

import sys
from collections.abc import Sequence

from dagster_project.command import Variables, parser, status, width
from dagster_project.environments import Environment
from neuroscribe.report.ledger import LEDGER, ledger, ledger_text
from neuroscribe.tables.parquet import parquet_bytes
from resources.store.calls import FolderCalls
from resources.store.files import Files

FILE = "ledger.parquet"


def main(arguments: Sequence[str] | None = None, variables: Variables | None = None) -> int:
    """Print the summary and write the table; returns 0, or 1 after one message about what went wrong."""
    parser("ledger", __doc__).parse_args(arguments)
    return status(_print_ledger, variables)


def _print_ledger(environment: Environment) -> None:
    place = {"endpoint_url": environment.endpoint_url}
    entries = ledger(FolderCalls(f"{environment.store.rstrip('/')}/calls", **place))
    files = Files(environment.store, **place)
    files.write(FILE, parquet_bytes(entries, LEDGER, {}))
    sys.stdout.write(ledger_text(entries, width()) + f"\n{len(entries):,} calls in {files.path(FILE)}\n")


if __name__ == "__main__":
    sys.exit(main())
