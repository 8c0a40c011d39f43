"""Serves the studies to the page and the daemon of a deployment, and starts what runs the daemon asks for.

    python -m dagster_project.code_server --host 0.0.0.0 --port 4000 --known-as code

This is `dagster code-server start`, in a container of its own: what a container ran has ended when it starts
again. Dagster would take those runs for running for ever, and their places in pools for taken; so they are
first marked as failed. The daemon starts them anew where `run_retries` says so.
"""

import sys
from collections.abc import Iterator, Sequence

import dagster as dg
from dagster._cli.code_server import code_server_cli

from dagster_project.alone import close_launched_runs
from dagster_project.command import Variables, parser, status
from dagster_project.environments import ROOT, Environment
from dagster_project.history import history


def main(arguments: Sequence[str] | None = None, variables: Variables | None = None) -> int:
    """Serve until stopped; returns 0, or 1 after one message about what went wrong."""
    command = parser("code_server", __doc__)
    command.add_argument("-p", "--port", type=int, default=4000, help="port to answer at (4000)")
    command.add_argument(
        "--host", default="127.0.0.1", help="address of this machine to answer at (127.0.0.1)"
    )
    command.add_argument("--known-as", default="127.0.0.1", help="its host in the workspace (127.0.0.1)")
    chosen = command.parse_args(arguments)
    failed = status(lambda environment: _close(environment, chosen.known_as, chosen.port), variables)
    if failed:
        return failed
    where = ["--host", chosen.host, "--port", str(chosen.port), "--location-name", "neuroscribe"]
    what = [
        "--python-file",
        str(ROOT / "dagster_project" / "definitions.py"),
        "--working-directory",
        str(ROOT),
    ]
    return code_server_cli.main(["start", *where, *what], "dagster code-server", standalone_mode=False) or 0


def _close(environment: Environment, host: str, port: int) -> None:
    with history(environment) as instance:
        for run in close_runs_of(host, port, instance):
            sys.stdout.write(f"run {run} ended with the code server that ran it\n")
            sys.stdout.flush()


def close_runs_of(host: str, port: int, instance: dg.DagsterInstance) -> Iterator[str]:
    """Mark what a code server ran as failed, free what it held, and yield the runs; it must be gone."""
    return close_launched_runs(
        instance, lambda server: (server.get("host"), server.get("port")) == (host, port)
    )


if __name__ == "__main__":
    sys.exit(main())
