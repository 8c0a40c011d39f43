"""Measures everything and writes latest.json and the table in RESULTS.md: `python -m benchmarks`."""

from benchmarks.capture import capture_figures
from benchmarks.figures import LATEST, write
from benchmarks.peers import peer_figures
from benchmarks.scoring import scoring_figures


def main() -> None:
    """Run all benchmarks; nothing is written before the last has ended."""
    write([*capture_figures(), *peer_figures(), *scoring_figures()])
    print(f"written: {LATEST}")


if __name__ == "__main__":
    main()
