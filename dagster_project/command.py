"""What the commands share: arguments, one message about what went wrong, and the width of what they print."""

import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper

from dagster_project.environments import Environment, settle
from neuroscribe.errors import NeuroscribeError
from neuroscribe.kinds import read_studies
from neuroscribe.study.files import chosen_layers, chosen_study, sampled_layers
from neuroscribe.study.spec import Study
from neuroscribe.text.escaping import escaped

Variables = Mapping[str, str]
"""What stands in for the environment variables of the process."""


def parser(name: str, about: str | None) -> ArgumentParser:
    """Return the parser of a command, which `about`, without the usage indented in it, describes."""
    _print_anything()
    prose = "\n".join(line for line in (about or "").splitlines() if not line.startswith(" "))
    return ArgumentParser(prog=f"python -m dagster_project.{name}", description=prose)


def study_parser(
    name: str, about: str | None, *, layers: str | None = None, default: str | None = None
) -> ArgumentParser:
    """Return the parser of a command on a study and, where `layers` says what for, on layers of it.

    Without a default the study is required.
    """
    command = parser(name, about)
    command.add_argument(
        "study",
        nargs=None if default is None else "?",
        default=default,
        help="name of a file in studies/, without .toml",
    )
    command.set_defaults(layers=None)
    if layers is not None:
        command.add_argument("--layers", help=layers)
    return command


def chosen(
    options: Namespace, environment: Environment, *, sampled: bool = True
) -> tuple[Study, Sequence[int] | None]:
    """Return the study and the layers that a user named, None for layers that nobody named.

    Only those of the study's sample may be named, unless others are `sampled` or not.

    Others that are broken get a line each: they are no matter here, and nobody would look for them otherwise.
    """
    studies = read_studies(environment.studies)
    study = chosen_study(studies, options.study)
    for error in studies.broken.values():
        first = str(error).partition("\n")[0]
        sys.stderr.write(f"warning: another study is left out: {escaped(first.encode(errors='replace'))}\n")
    read = sampled_layers if sampled else chosen_layers
    return study, None if options.layers is None else read(study, options.layers)


def status(work: Callable[[Environment], None], variables: Variables | None) -> int:
    """Work in an environment; return 0, or 1 after one message about what went wrong."""
    try:
        environment = Environment.read(variables)
        settle(environment)
        work(environment)
    except NeuroscribeError as error:
        # A server or a file name may have put anything into it.
        lines = [escaped(line.encode(errors="replace")) for line in str(error).splitlines()]
        sys.stderr.write("\nerror: " + "\n".join(lines) + "\n")
        return 1
    return 0


def _print_anything() -> None:
    """Let what the output cannot encode be printed escaped: texts hold any character, logs may be ASCII."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def width() -> int:
    """Return how many characters wide a command prints: as the terminal is, from 80 to 132."""
    return max(80, min(132, shutil.get_terminal_size((110, 40)).columns))
