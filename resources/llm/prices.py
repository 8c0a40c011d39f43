"""What a server charges: the study's own prices, else those of the list in prices.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from neuroscribe.ports.replies import Usage
from neuroscribe.study.spec import LLMSpec

_LIST = Path(__file__).parent / "prices.toml"
_NUMBERS = ("prompt", "cached", "completion", "batch")


@dataclass(frozen=True)
class Prices:
    """What a server charges, in US dollars per million tokens; None where unknown."""

    prompt: float | None = None
    completion: float | None = None
    cached: float | None = None
    """For prompt tokens that the server had in its cache; those cost like others where this is unknown."""

    @property
    def known(self) -> bool:
        """Whether the cost of a call can be told."""
        return self.prompt is not None and self.completion is not None

    def cost(self, usage: Usage) -> float | None:
        """Return the dollars that these tokens cost, or None when a price is unknown."""
        if self.prompt is None or self.completion is None:
            return None
        cached_price = self.prompt if self.cached is None else self.cached
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        prompt = self.prompt * (usage.prompt_tokens - cached) + cached_price * cached
        return (prompt + self.completion * usage.completion_tokens) / 1e6


def prices(spec: LLMSpec, base_url: str) -> Prices:
    """Return the prices that hold for a study's model at an address; the study's own come first."""
    return _prices(spec, _listed(spec.model, _host(base_url)))


def batch_prices(spec: LLMSpec, base_url: str) -> Prices:
    """Return the prices of batch jobs: the study's own as they stand, else the list's times its batch share.

    A prompt that was in the cache is taken to cost like any other in a job, which is no less than it does.
    """
    listed = _listed(spec.model, _host(base_url))
    share = listed.pop("batch", None)
    if share is not None:
        listed = {name: share * listed[name] for name in ("prompt", "completion")}
    return _prices(spec, listed)


def _prices(spec: LLMSpec, listed: Mapping[str, float]) -> Prices:
    own = {
        "prompt": spec.usd_per_million_prompt_tokens,
        "completion": spec.usd_per_million_completion_tokens,
        "cached": spec.usd_per_million_cached_tokens,
    }
    stated = {name: price for name, price in own.items() if price is not None}
    # The list's rebate says nothing about another price of prompts.
    left_out = {"batch", "cached"} if "prompt" in stated else {"batch"}
    return Prices(**{name: price for name, price in listed.items() if name not in left_out} | stated)


def _host(base_url: str) -> str:
    try:
        return urlsplit(base_url).hostname or ""
    except ValueError:  # which whoever opens the address explains
        return ""


def _listed(model: str, host: str) -> dict[str, float]:
    for row in _rows():
        if row["host"] == host and any(fnmatchcase(model, pattern) for pattern in row["models"]):
            return {name: float(row[name]) for name in _NUMBERS if name in row}
    return {}


@cache
def _rows() -> list[Mapping[str, Any]]:
    return tomllib.loads(_LIST.read_text(encoding="utf-8"))["price"]
