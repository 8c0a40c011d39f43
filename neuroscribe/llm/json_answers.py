"""JSON that an LLM was asked for, read strictly."""

import json
import re
from typing import Any, NoReturn

_FENCED = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL | re.IGNORECASE)


class CutOffError(ValueError):
    """JSON that ends too early."""


def json_answer(answer: str) -> Any:
    """Return what an answer says in JSON; a fence around the whole of it is taken off.

    Raises CutOffError for an object that ends too early, ValueError for all else: text before or after, NaN
    and infinity, nesting or numbers beyond what can be read.
    """
    said = answer.strip()
    fenced = _FENCED.fullmatch(said)
    written = fenced[1] if fenced else said
    try:
        return json.loads(written, parse_constant=_no_json)
    except json.JSONDecodeError as error:
        ended = error.pos >= len(written) or error.msg.startswith("Unterminated")
        if written.startswith("{") and ended:
            raise CutOffError(str(error)) from error
        raise
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
