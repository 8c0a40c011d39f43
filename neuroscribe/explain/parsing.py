"""What counts as an explanation: one line of plain words, without lead-ins, lists of pairs or reasoning."""

import re
from typing import Literal

LONGEST = 300
"""Characters; longer answers are reasoning or copied excerpts."""
_REFUSAL = re.compile(
    r"^(i'?m sorry|i am sorry|sorry,|i (can(no|')t|cannot|am unable to|won't)\b|as an ai\b)", re.IGNORECASE
)
_LEAD_IN = re.compile(
    r"^(explanation\s*:\s*)?((this|the) neuron|neuron \d+)?\s*((fires|activates|responds)\s+(mainly |mostly )?"
    r"(on|for|to|in|when)\s+)?",
    re.IGNORECASE,
)
_PAIR = re.compile(r"\t\s*\d")


def explanation_text(answer: str) -> tuple[str | None, Literal["ok", "refused", "unparsable"]]:
    """Return the explanation in an answer and its status; the text is None unless the status is ok."""
    lines = [line.strip() for line in answer.strip().splitlines() if line.strip()]
    if not lines:
        return None, "unparsable"
    if _REFUSAL.match(lines[0]):
        return None, "refused"
    text = _LEAD_IN.sub("", lines[0]).strip().strip("\"'`*").rstrip(".").strip()
    if len(lines) > 1 or len(text) > LONGEST or _PAIR.search(text) or not re.search(r"\w", text):
        return None, "unparsable"
    return text, "ok"
