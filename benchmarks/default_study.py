"""How long the default study takes once all is installed and downloaded: `explain.default_study_minutes`.

A new process, an empty store and a history of its own, so that nothing is there that a newcomer lacks.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure, figure
from dagster_project.environments import Environment
from neuroscribe.kinds import read_studies
from neuroscribe.study.files import chosen_study

STUDY = "embedded"


def default_study_figures() -> Iterator[Figure]:
    """Run the default study from nothing, and yield the minutes that it took."""
    study = chosen_study(read_studies(Environment.read().studies), STUDY)
    with TemporaryDirectory(prefix="neuroscribe-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        places = {"NEUROSCRIBE_STORE": str(Path(folder) / "store"), "DAGSTER_HOME": str(home)}
        begun = time.perf_counter()
        subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, "-m", "dagster_project.run", STUDY], env={**os.environ, **places}, check=True
        )
        minutes = (time.perf_counter() - begun) / 60
    sides = len(study.sampled_layers) * (_random(study.sample.neurons_per_layer) + study.sample.recognisable)
    yield figure("explain.default_study_minutes", [minutes], "minutes, models downloaded before", n=sides)


def _random(wanted: object) -> int:
    assert isinstance(wanted, int), "the default study names a number"
    return wanted
