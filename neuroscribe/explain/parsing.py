"""What counts as an explanation: one line of plain words; no lead-in, list of pairs or reasoning."""

import re
from typing import Literal

LONGEST = 300
"""Characters; longer answers are reasoning or copied excerpts."""
_REFUSAL = re.compile(
    r"^((i['’]?m|i am) (sorry|unable to|not able to)\b|sorry,|as an ai\b|"
    r"i (can['’]?t|cannot|won['’]t|will not)\b)",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(
    r"^((explanation|in common)\s*:\s*)?"
    r"(((this|the) neuron|neuron \d+)\s*(?=fires\b|activates\b|responds\b|$))?"
    r"((fires|activates|responds)\s+(mainly |mostly )?(on|for|to|in|when)\s+)?",
    re.IGNORECASE,
)
_WRAPPED = re.compile(r"""(?P<mark>["'`*]+)(?P<inside>(?:(?!(?P=mark)).)+)(?P=mark)""")
_PAIR = re.compile(r"\t\s*\d")


def explanation_text(answer: str) -> tuple[str | None, Literal["ok", "refused", "unparsable"]]:
    """Return the explanation in an answer and its status; the text is None unless the status is ok."""
    lines = [line.strip() for line in answer.strip().splitlines() if line.strip()]
    if not lines:
        return None, "unparsable"
    if _REFUSAL.match(lines[0]):
        return None, "refused"
    text = _unwrapped(_LEAD_IN.sub("", _unwrapped(lines[0]), count=1))
    if len(lines) > 1 or len(text) > LONGEST or _PAIR.search(text) or not re.search(r"\w", text):
        return None, "unparsable"
    return text, "ok"


def _unwrapped(text: str) -> str:
    """Return a phrase without full stop, and without quotes or asterisks that enclose the whole of it."""
    bare = text.strip().rstrip(".").strip()
    if wrapped := _WRAPPED.fullmatch(bare):
        return _unwrapped(wrapped["inside"])
    return bare
