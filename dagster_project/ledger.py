"""What all LLM calls of a store took, by stage and model, and call by call in `ledger.parquet` beside them.

python -m dagster_project.ledger
"""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence

from dagster_project.environments import Environment
from neuroscribe.errors import NeuroscribeError
from neuroscribe.report.ledger import LEDGER, ledger, ledger_text
from neuroscribe.tables.parquet import parquet_bytes
from neuroscribe.text.escaping import escaped
from resources.store.calls import FolderCalls
from resources.store.files import Files

FILE = "ledger.parquet"


def main(arguments: Sequence[str] | None = None, variables: Mapping[str, str] | None = None) -> int:
    """Print the summary and write the table; returns 0, or 1 after one message about what went wrong.

    `variables` stand in for the process's environment variables.
    """
    argparse.ArgumentParser(prog="python -m dagster_project.ledger", description=__doc__).parse_args(
        arguments
    )
    try:
        environment = Environment.read(variables)
        place = {"endpoint_url": environment.endpoint_url}
        entries = ledger(FolderCalls(f"{environment.store.rstrip('/')}/calls", **place))
        files = Files(environment.store, **place)
        files.write(FILE, parquet_bytes(entries, LEDGER, {}))
    except NeuroscribeError as error:
        lines = [escaped(line.encode(errors="replace")) for line in str(error).splitlines()]
        sys.stderr.write("\nerror: " + "\n".join(lines) + "\n")
        return 1
    width = max(80, min(132, shutil.get_terminal_size((110, 40)).columns))
    sys.stdout.write(ledger_text(entries, width) + f"\n{len(entries):,} calls in {files.path(FILE)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
