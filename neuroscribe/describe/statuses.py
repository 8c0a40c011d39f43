"""How far a description explains its neuron, in words, by rules that anyone can apply to the table.

- `explained`: clearly better than other neurons' explanations (p at most .05), its interval above 0, and at
  least .15 above their mean
- `token detector`: explained, and the tokens alone predict the neuron (a ceiling of at least .6)
- `poorly explained`: clearly better than others', and less than that
- `nothing in common found`: none of these, and a judge does not find the excerpt that does not belong among
  the neuron's exemplars: its interval reaches down to the share that guessing gets. The fault may be the
  neuron's, or the judge's, and not the text's
- `not explained`: the rest, and what has no text or no score
"""

from dataclasses import dataclass

CLEARLY = 0.05
"""Largest chance that another neuron's explanation does as well."""
MARGIN = 0.15
"""Least distance of the score from the mean of other neurons' explanations."""
TOLD_BY_TOKENS = 0.6
"""Ceiling from which on a neuron is a detector of tokens."""


@dataclass(frozen=True)
class Standing:
    """What the status of a description rests on; None is unknown."""

    score: float | None = None
    ci_low: float | None = None
    ceiling: float | None = None
    control: float | None = None
    p: float | None = None
    intruder_low: float | None = None
    guessed: float | None = None
    """How often guessing finds the intruder."""

    @property
    def is_clearly_better(self) -> bool:
        """Whether it is above other neurons' explanations by more than chance."""
        return self.score is not None and self.p is not None and self.p <= CLEARLY

    @property
    def status(self) -> str:
        """Which of the words above says it."""
        if self.is_clearly_better:
            return self._explained
        asked = self.intruder_low is not None and self.guessed is not None
        is_missed = asked and (self.intruder_low or 0.0) <= (self.guessed or 0.0)
        return "nothing in common found" if is_missed else "not explained"

    @property
    def _explained(self) -> str:
        beyond = (self.score or 0.0) - (self.control or 0.0)
        if self.ci_low is None or self.ci_low <= 0 or beyond < MARGIN:
            return "poorly explained"
        is_told = self.ceiling is not None and self.ceiling >= TOLD_BY_TOKENS
        return "token detector" if is_told else "explained"
