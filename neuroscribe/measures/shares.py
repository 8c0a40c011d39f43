"""How often judges are right: balanced accuracy and AUC of excerpts, plain shares; for few answers.

Answers about excerpts of one sequence may be right or wrong together (fuzzing asks about each twice), so
the sequence is the unit. Ten right answers of ten do not say that all would be right: both intervals take in
what so few cannot rule out, so that neither is ever a single point. Reach by Student's t with as many
degrees of freedom as there are units. Both classes of excerpts must be there.

Coverage in simulation, 5 and 10 excerpts a class, independent or tied within a sequence, answers right with
a chance of .75 to 1: .97 to 1, so rather too wide; tests/neuroscribe/measures/test_shares.py.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

from neuroscribe.measures.estimate import Estimate
from neuroscribe.measures.student import t_quantile

Labels = Bool[np.ndarray, " excerpt"]
Units = Integer[np.ndarray, " excerpt"]
_HALVINGS = 40


def share_right(right: int, asked: int) -> Estimate:
    """Return the share of questions answered rightly with its interval, Wilson's (1927); `asked` at least 1.

    It is the interval of the share over more such questions, each of which is right or wrong by itself.
    """
    reach = 1.959963984540054**2
    share = right / asked
    centre = (right + reach / 2) / (asked + reach)
    half = math.sqrt(reach * (asked * share * (1 - share) + reach / 4)) / (asked + reach)
    return Estimate(share, min(max(0.0, centre - half), share), max(min(1.0, centre + half), share), None)


def balanced_accuracy(right: Labels, labels: Labels, units: Units) -> Estimate:
    """Return the mean of the shares of firing and of silent excerpts told rightly, with its interval.

    `labels` says which excerpts fire, `units` of which sequence each is. The interval is Wald's after a right
    and a wrong unit were added to each class: that of Agresti and Caffo (2000) for independent answers, of
    Bonett and Price (2012) for pairs, and their like where units hold several excerpts.
    """
    design = _Design.of(labels, units)
    influence, added = np.zeros(design.count), np.zeros((2, 2))
    centre = value = 0.0
    for place, side in enumerate((labels, ~labels)):
        answers, own = right[side].astype(np.float64), design.places[side]
        size = len(answers) / len(np.unique(own))
        share, total = (answers.sum() + size) / (len(answers) + 2 * size), len(answers) + 2 * size
        np.add.at(influence, own, (answers - share) / (2 * total))
        added[place] = size * np.array([1 - share, -share]) / (2 * total)
        centre, value = centre + share / 2, value + answers.mean() / 2
    # The added units of the two classes are one where sequences give excerpts of both.
    variance = (influence**2).sum() + (added**2).sum() + 2 * design.shared * added.prod(axis=0).sum()
    half = design.reach * math.sqrt(variance)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(float(value), float(min(low, value)), float(max(high, value)), None)


def auc(probabilities: Float[np.ndarray, " excerpt"], labels: Labels, units: Units) -> Estimate:
    """Return the area under the ROC curve, ties counting half, with its interval.

    The interval holds all areas that the one found is compatible with (the score method with Hanley and
    McNeil's variance, Newcombe 2006), for as many excerpts as there are sequences in each class; the variance
    is widened by what sums over sequences vary more than single excerpts do (Obuchowski 1997).
    """
    design = _Design.of(labels, units)
    firing, silent = probabilities[labels][:, None], probabilities[~labels][None, :]
    wins = (firing > silent) + 0.5 * (firing == silent)
    area = float(wins.mean())
    of_firing, of_silent = (wins.mean(1) - area) / wins.shape[0], (wins.mean(0) - area) / wins.shape[1]
    together = np.zeros(design.count)
    np.add.at(together, design.places[labels], of_firing)
    np.add.at(together, design.places[~labels], of_silent)
    apart = float((of_firing**2).sum() + (of_silent**2).sum())
    widening = max(1.0, float((together**2).sum()) / apart) if apart else 1.0
    widening *= design.count / max(1, design.count - 1)
    reach = design.reach * math.sqrt(widening)
    low, high = _least_area(area, design, reach), 1 - _least_area(1 - area, design, reach)
    return Estimate(area, min(low, area), max(high, area), None)


def share(right: Labels, units: Units) -> Estimate:
    """Return a share with Wilson's (1927) interval, which has a width at 0 and at 1.

    Answers of one unit count as one: all of them may be right or wrong together.
    """
    value, count = float(right.mean()), len(np.unique(units))
    doubt = float(t_quantile(count, 0.975)) ** 2 / count
    centre = (value + doubt / 2) / (1 + doubt)
    half = math.sqrt(doubt * value * (1 - value) + doubt**2 / 4) / (1 + doubt)
    return Estimate(value, min(max(0.0, centre - half), value), max(min(1.0, centre + half), value), None)


@dataclass(frozen=True)
class _Design:
    """Which excerpts belong together."""

    places: Units
    """Each excerpt's unit, counted from 0."""
    count: int
    sides: tuple[int, int]
    """Units with firing and with silent excerpts."""

    @classmethod
    def of(cls, labels: Labels, units: Units) -> "_Design":
        names, places = np.unique(units, return_inverse=True)
        return cls(places, len(names), (len(np.unique(units[labels])), len(np.unique(units[~labels]))))

    @property
    def shared(self) -> float:
        """Return the share of units that hold excerpts of both classes."""
        return sum(self.sides) / self.count - 1

    @property
    def reach(self) -> float:
        """Return how many standard errors a 95 % interval reaches."""
        return float(t_quantile(self.count, 0.975))


def _least_area(area: float, design: _Design, reach: float) -> float:
    """Return the smallest area under the curve from which `area` is no more than `reach` errors away."""
    firing, silent = design.sides
    least, most = 0.0, area
    # By halves, not by a solver: an area of 1 has no spread, and would be found as its own least one.
    for _ in range(_HALVINGS):
        true = (least + most) / 2
        more = ((1 - true) / (2 - true) + true / (1 + true)) * ((firing + silent) / 2 - 1)
        far = area - true > reach * math.sqrt(true * (1 - true) * (1 + more) / (firing * silent))
        least, most = (true, most) if far else (least, true)
    return least
