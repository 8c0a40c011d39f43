"""Measures everything, or some parts, and writes latest.json and the table in RESULTS.md.

python -m benchmarks [PART ...]
"""

import argparse
from collections.abc import Callable, Iterator

from benchmarks.backfill import backfill_figures
from benchmarks.capture import capture_figures
from benchmarks.default_study import default_study_figures
from benchmarks.explainers import explainer_figures
from benchmarks.figures import LATEST, Figure, write
from benchmarks.growth import growth_figures
from benchmarks.llm import llm_figures
from benchmarks.local_simulator import local_simulator_figures
from benchmarks.memory import memory_figures
from benchmarks.peers import peer_figures
from benchmarks.scoring import scoring_figures
from benchmarks.tokens import token_figures
from benchmarks.validity import validity_figures
from benchmarks.whole_activations import whole_figures

PARTS: dict[str, Callable[[], Iterator[Figure]]] = {
    "capture": capture_figures,
    "memory": memory_figures,
    "growth": growth_figures,
    "peers": peer_figures,
    "whole": whole_figures,
    "local": local_simulator_figures,
    "scoring": scoring_figures,
    "llm": llm_figures,
    "tokens": token_figures,
    "validity": validity_figures,
    "explainers": explainer_figures,
    "dagster": backfill_figures,
    "default_study": default_study_figures,
}


def main() -> None:
    """Run the parts; nothing of a part is written before it has ended, and others' figures stay."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all unless given")
    chosen: list[str] = parser.parse_args().parts
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    for name in chosen or PARTS:
        write(list(PARTS[name]()), part=name)
    print(f"written: {LATEST}")


if __name__ == "__main__":
    main()
