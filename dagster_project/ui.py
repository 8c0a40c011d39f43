"""Opens the asset graph of all studies in Dagster's web page, on this machine alone.

    python -m dagster_project.ui --port 3000
    python -m dagster_project.ui --host 0.0.0.0 --workspace deploy/workspace.yaml

It does what `dagster dev` does: a code server loads the studies, the daemon runs schedules and backfills, the
web server answers. Before the latter stands a guard (guard.py); Ctrl-C, or SIGTERM, ends all three. With a
workspace it serves the page alone, behind the same guard: code servers and daemon run elsewhere (deploy/).
"""

import json
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import dagster as dg
import uvicorn
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.log import configure_loggers
from dagster_webserver.app import create_app_from_workspace_process_context
from filelock import Timeout
from yaml import YAMLError

from dagster_project.alone import close_launched_runs
from dagster_project.command import Variables, parser, status
from dagster_project.environments import ROOT, Environment
from dagster_project.guard import Guard
from dagster_project.history import history
from dagster_project.history_errors import settings_error
from neuroscribe.errors import StudyError
from resources.store.locks import locked

ADDRESS = "127.0.0.1"
NAMES = (ADDRESS, "localhost", "[::1]")
"""What a browser on this machine calls it."""
_END_S = 30
"""How long the daemon may take to end before it is killed."""
_POLL_MS = 2000
"""How often the page asks for what is new, as under `dagster dev`."""


def main(arguments: Sequence[str] | None = None, variables: Variables | None = None) -> int:
    """Serve until stopped; returns 0, or 1 after one message about what went wrong."""
    command = parser("ui", __doc__)
    command.add_argument("-p", "--port", type=int, default=3000, help="port to answer at (3000)")
    command.add_argument("--host", default=ADDRESS, help="address to answer at (127.0.0.1)")
    command.add_argument(
        "-w",
        "--workspace",
        type=Path,
        help="file that names code servers: serve their page alone",
    )
    chosen = command.parse_args(arguments)
    try:
        return status(
            lambda environment: serve(environment, chosen.host, chosen.port, chosen.workspace), variables
        )
    except KeyboardInterrupt:
        return 0


def serve(environment: Environment, host: str, port: int, workspace: Path | None) -> None:
    """Serve until interrupted: the page of a workspace, or all that the project's own one needs."""
    configure_loggers()
    with ExitStack() as opened:
        listening = opened.enter_context(_listening(host, port))
        instance = opened.enter_context(history(environment))
        daemon = None
        if workspace is None:
            opened.enter_context(_alone(environment, instance))
            workspace = opened.enter_context(_code_served(instance))
            daemon = opened.enter_context(_daemon(workspace))
        context = opened.enter_context(_read(workspace, instance))
        app = create_app_from_workspace_process_context(context, live_data_poll_rate=_POLL_MS)
        guarded = Guard(app, hosts_at(port, environment.ui_hosts))
        server = uvicorn.Server(uvicorn.Config(guarded, log_level="warning", timeout_graceful_shutdown=5))
        if daemon:
            Thread(target=_end_with, args=(daemon, server), daemon=True).start()
        sys.stdout.write(f"Dagster answers at http://{host}:{port} (Ctrl-C ends it)\n")
        sys.stdout.flush()
        server.run(sockets=[listening])


def hosts_at(port: int, others: Sequence[str]) -> list[str]:
    """Return the hosts under which a browser may reach the page: this machine at a port, and named others."""
    here = NAMES if port == 80 else ()  # a browser leaves out the usual port
    return [*(f"{name}:{port}" for name in NAMES), *here, *others]


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise StudyError(
            f"port {port} of {host} cannot be had ({error}); name another (make ui PORT=3001)"
        ) from error


def _read(workspace: Path, instance: dg.DagsterInstance) -> WorkspaceProcessContext:
    """Return the code servers that a workspace names, whether they answer yet or not."""
    if not workspace.is_file():
        raise StudyError(f"{workspace}: there is no such file; name one such as deploy/workspace.yaml")
    try:
        return WorkspaceProcessContext(
            instance, WorkspaceFileTarget([str(workspace)]), version=dg.__version__
        )
    except (dg.DagsterInvalidConfigError, YAMLError) as error:
        raise settings_error(error, workspace, "deploy/workspace.yaml") from error


@contextmanager
def _alone(environment: Environment, instance: dg.DagsterInstance) -> Iterator[None]:
    """Close what a killed page left running, unless another one is open with the same history."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(environment.dagster_home / ".page.lock"))
        except Timeout:
            sys.stderr.write("warning: another page is open with this history; its runs are left alone\n")
        else:
            for run in close_launched_runs(instance, lambda server: "socket" in server):
                sys.stderr.write(f"run {run} ended with the page that was killed while it ran\n")
        yield


@contextmanager
def _code_served(instance: dg.DagsterInstance) -> Iterator[Path]:
    """Load workspace.yaml in processes of their own, and yield a workspace that names them."""
    target = WorkspaceFileTarget([str(ROOT / "workspace.yaml")])
    with ProxyServerManager(instance, target) as servers, TemporaryDirectory() as folder:
        workspace = Path(folder, "workspace.yaml")
        # JSON is YAML.
        workspace.write_text(json.dumps({"load_from": servers.get_code_server_specs()}), encoding="utf-8")
        yield workspace


@contextmanager
def _daemon(workspace: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run Dagster's daemon, which acts on schedules, backfills and the queue of runs."""
    command = [sys.executable, "-m", "dagster._daemon", "run", "--workspace", str(workspace)]
    with subprocess.Popen(command, cwd=ROOT) as process:  # noqa: S603 - our own interpreter
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _end_with(daemon: subprocess.Popen[bytes], server: uvicorn.Server) -> None:
    """End the server when the daemon ends: a page whose schedules and queue stand still would mislead."""
    code = daemon.wait()
    if not server.should_exit:
        logging.getLogger(__name__).error("Dagster's daemon ended (exit status %s); start again", code)
        server.should_exit = True


if __name__ == "__main__":
    # A script's background jobs ignore SIGINT, and SIGTERM has to end the processes below this one as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
