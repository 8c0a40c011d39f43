"""What counts as a judge's answer: the first word, yes or no, or how likely the model holds either."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp

from neuroscribe.replies import NextToken, ReadingStatus, Reply, Usage
from neuroscribe.simulate.distribution import readable_logprobs

_FIRST_WORD = re.compile(r"^\W*(yes|no)\b", re.IGNORECASE)
_EDGES = "\"'`*.,:;!()[]"


@dataclass(frozen=True)
class Judgement:
    """One answer; without a readable one, `status` says why."""

    answer: bool | None
    probability: float | None
    """Of yes; for an encoder the cosine similarity."""
    status: ReadingStatus = "ok"
    usage: Usage = field(default_factory=Usage)
    raw: str = ""


def judged_by_text(reply: Reply) -> Judgement:
    """Return the judgement in a reply; one cut off after its first word is readable."""
    said = _FIRST_WORD.match(reply.text or "")
    if said:
        return Judgement(said[1].lower() == "yes", None, "ok", reply.usage, reply.raw)
    status = "unparsable" if reply.status == "ok" else reply.status
    return Judgement(None, None, status, reply.usage, reply.raw)


def judged_by_first_token(found: NextToken) -> Judgement:
    """Return the judgement in the likeliest first tokens: P(yes) / (P(yes) + P(no)), spellings together."""
    if found.status != "ok":
        return Judgement(None, None, found.status, found.usage, found.raw)
    mass = _masses(found.top_logprobs)
    total = mass["yes"] + mass["no"]
    if total <= 0:
        return Judgement(None, None, "unparsable", found.usage, found.raw)
    yes = mass["yes"] / total
    return Judgement(yes > 0.5, yes, "ok", found.usage, found.raw)


def _masses(top_logprobs: Mapping[str, float]) -> dict[str, float]:
    mass = {"yes": 0.0, "no": 0.0}
    for token, logprob in readable_logprobs(top_logprobs).items():
        word = token.strip().strip(_EDGES).lower()
        if word in mass:
            mass[word] += exp(logprob)
    return mass
