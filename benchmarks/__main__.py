"""Measures everything and writes latest.json and the table in RESULTS.md: `python -m benchmarks`."""

from benchmarks.capture import capture_figures
from benchmarks.figures import LATEST, write
from benchmarks.growth import growth_figures
from benchmarks.local_simulator import local_simulator_figures
from benchmarks.memory import memory_figures
from benchmarks.peers import peer_figures
from benchmarks.scoring import scoring_figures
from benchmarks.whole_activations import whole_figures


def main() -> None:
    """Run all benchmarks; nothing is written before the last has ended."""
    parts = (
        capture_figures,
        memory_figures,
        growth_figures,
        peer_figures,
        whole_figures,
        local_simulator_figures,
        scoring_figures,
    )
    write([one for part in parts for one in part()])
    print(f"written: {LATEST}")


if __name__ == "__main__":
    main()
