"""What becomes of an answer of an LLM, in the words of the column `status`."""

EXPLANATION_STATUSES = (
    "ok", "refused", "unparsable", "failed", "truncated", "reasoning", "too_long", "empty",
    "no_theme",
)  # fmt: skip
"""What becomes of an answer that should be an explanation; only `ok` has a text.

- `refused`: the model or its server declined
- `failed`: no usable answer after every attempt
- `truncated`: cut off at the token limit
- `reasoning`: thoughts about the answer instead of it
- `too_long`, `empty`, `unparsable`: not of the form that was asked for
- `no_theme`: the model was told that it may find nothing in common, and says so
"""
READING_STATUSES = ("ok", "refused", "unparsable", "failed", "truncated")
"""What becomes of an answer that should be a simulation or a judgement; only `ok` has all values."""
