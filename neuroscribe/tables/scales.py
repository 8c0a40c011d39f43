"""The scales of histograms and quantiles: fixed, so that counts of any two captures can be added."""

LOWEST_EXPONENT = -20
HIGHEST_EXPONENT = 15
HALF_OCTAVES = 2 * (HIGHEST_EXPONENT - LOWEST_EXPONENT)
"""Histogram bins on each side of zero: [2^e, 1.5 x 2^e) and [1.5 x 2^e, 2^(e+1))."""
BINS = 2 * HALF_OCTAVES + 1
EIGHTH_OCTAVES = 4 * HALF_OCTAVES
"""Bins of peaks on each side of zero: each octave in eight steps of equal width."""
PEAK_BINS = 2 * EIGHTH_OCTAVES + 1


def histogram_edges() -> list[float]:
    """Return the BINS + 1 edges, ascending; the two outermost bins are open-ended."""
    return _edges(2)


def peak_edges() -> list[float]:
    """Return the PEAK_BINS + 1 edges of the histogram of peaks, ascending."""
    return _edges(8)


def _edges(steps: int) -> list[float]:
    positive = [
        2.0**exponent * (1 + step / steps)
        for exponent in range(LOWEST_EXPONENT, HIGHEST_EXPONENT)
        for step in range(steps)
    ] + [2.0**HIGHEST_EXPONENT]
    return [-edge for edge in reversed(positive)] + positive


QUANTILE_LEVELS = (0.0001, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 0.9999)
"""Levels of the quantile column, as shares of tokens."""
QUANTILES = (0.0, 0.5, 0.9, 0.99, 0.999)
"""Bounds of the paper's quantile bands, as shares of sequences by peak."""
BANDS = len(QUANTILES) - 1
