"""Removes what a study has of some layers; the next run makes it again, from the answers that are stored.

    python -m dagster_project.forget STUDY --layers 0,6 [--stages scores,...] [--capture] [--yes]

It prints what it would remove, and removes it with --yes. Calls of language models are kept. Dagster's open
version cannot take back single partitions: its page goes on to show them, and the next run makes them again.
"""

import sys
from collections.abc import Sequence

from dagster_project.alone import at_rest
from dagster_project.command import Variables, chosen, status, study_parser
from dagster_project.environments import Environment
from neuroscribe.errors import StudyError
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES, stages_of
from resources.store.files import Files
from resources.store.layout import of_layers


def main(arguments: Sequence[str] | None = None, variables: Variables | None = None) -> int:
    """Print, and remove with --yes; returns 0, or 1 after one message about what went wrong."""
    command = study_parser("forget", __doc__, layers="the layers, as in 0,6,12")
    command.add_argument("--stages", help="only the tables of these stages, as in simulations,scores")
    command.add_argument("--capture", action="store_true", help="the captured tensors as well")
    command.add_argument("--yes", action="store_true", help="remove what is printed")
    options = command.parse_args(arguments)

    def work(environment: Environment) -> None:
        study, layers = chosen(options, environment)
        if layers is None:
            raise StudyError("no layer is named; name them (make forget LAYERS=0,6)")
        stages = chosen_stages(study, options.stages)
        forget(study, environment, layers, stages, capture=options.capture, yes=options.yes)

    return status(work, variables)


def chosen_stages(study: Study, given: str | None) -> list[str]:
    """Return the stages that a text such as `simulations,scores` names, all of single layers without one.

    Raises StudyError for one that is not there, or whose tables are not of single layers.
    """
    layered = [name for name in stages_of(study) if STAGES[name].per_layer]
    named = layered if given is None else [name.strip() for name in given.split(",")]
    if wrong := [name for name in named if name not in layered]:
        raise StudyError(
            f"--stages names {wrong[0]!r}; of single layers study {study.name} has {', '.join(layered)}"
        )
    return named


def forget(
    study: Study,
    environment: Environment,
    layers: Sequence[int],
    stages: Sequence[str],
    *,
    capture: bool = False,
    yes: bool = False,
) -> None:
    """Print the files of some layers, and remove them if the answer is `yes`.

    Raises StudyError while another process runs the study.
    """
    files = Files(environment.store, endpoint_url=environment.endpoint_url)
    with at_rest(study.name, environment):
        found = of_layers(files.entries(study.name), study.name, layers, stages, capture=capture)
        for entry in sorted(found, key=lambda entry: entry.path):
            sys.stdout.write(f"{entry.size / 1e6:10,.3f} MB  {entry.path}\n")
            if yes:
                files.remove(entry.path)
    size = sum(entry.size for entry in found) / 1e6
    done = "removed" if yes else "to remove (nothing has been: add --yes, or make forget YES=1)"
    sys.stdout.write(f"{size:10,.3f} MB in {len(found)} files {done}\n")


if __name__ == "__main__":
    sys.exit(main())
