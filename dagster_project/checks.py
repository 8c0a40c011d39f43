"""How the checks of a study stand: what fails and what warns, with findings, then each check.

    python -m dagster_project.checks [study]

It tells what the runs so far have found, and examines nothing: "Execute all" on an asset's page does that.
"""

import sys
from collections.abc import Sequence

from assets.standing import standing
from dagster_project.command import Variables, chosen, parser, status, width
from dagster_project.environments import Environment
from dagster_project.history import history
from neuroscribe.report.checks import standing_text


def main(arguments: Sequence[str] | None = None, variables: Variables | None = None) -> int:
    """Print the page of a study's checks; returns 0, or 1 after one message about what went wrong."""
    command = parser("checks", __doc__)
    command.add_argument("study", nargs="?", default="embedded", help="name of a file in studies/")
    command.set_defaults(layers=None)
    options = command.parse_args(arguments)

    def work(environment: Environment) -> None:
        study, _ = chosen(options, environment)
        with history(environment) as instance:
            sys.stdout.write(standing_text(study.name, standing(study, instance), width()))

    return status(work, variables)


if __name__ == "__main__":
    sys.exit(main())
