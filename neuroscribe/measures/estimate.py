"""A value with the interval that says how sure it is, or the reason why there is none."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, or the reason why there is none."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    null_reason: str | None

    @classmethod
    def missing(cls, reason: str) -> "Estimate":
        """Return no value, with the reason."""
        return cls(None, None, None, reason)
