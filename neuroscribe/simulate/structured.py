"""The simulator `structured`: the model returns each token with its activation, as JSON.

A whole number from 0 to 10 stands for every token. Tokens stand beside their values because small models lose
count in a list of bare numbers. The answer is read strictly: a reading is all of it or nothing.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

from neuroscribe.llm.faults import fault
from neuroscribe.llm.json_answers import CutOffError, json_answer
from neuroscribe.ports.replies import Message, Reply, Schema, Simulated
from neuroscribe.simulate.distribution import without_values
from neuroscribe.simulate.prompts import conversation, wording
from neuroscribe.simulate.replied import Replied
from neuroscribe.text.escaping import escaped, unescaped, unforged

_LARGEST = 10
_PAIR: Schema = {
    "type": "object",
    "properties": {
        "token": {"type": "string"},
        "activation": {"type": "integer", "enum": list(range(_LARGEST + 1))},
    },
    "required": ["token", "activation"],
    "additionalProperties": False,
}


class Structured(Replied):
    """The model returns every token with its activation as JSON: without log-probabilities."""

    kind: Literal["structured"] = "structured"

    def answer_schema(self, tokens: Sequence[bytes]) -> Schema:
        """Return an object with as many pairs as there are tokens: small models lose count, or never end."""
        pairs = {"type": "array", "items": _PAIR, "minItems": len(tokens), "maxItems": len(tokens)}
        return {
            "type": "object",
            "properties": {"activations": pairs},
            "required": ["activations"],
            "additionalProperties": False,
        }

    def messages(self, explanation: str, tokens: Sequence[bytes]) -> list[Message]:
        """Return the prompt; tokens are escaped and then written as JSON."""
        data = wording(self.kind_name)
        worked = [
            (
                _question(each["explanation"], each["tokens"]),
                _json({"activations": _pairs(each["tokens"], each["values"])}),
            )
            for each in data["example"]
        ]
        question = _question(unforged(explanation), [unforged(escaped(token)) for token in tokens])
        return conversation(data["instruction"], worked, question)

    def longest_answer(self, tokens: Sequence[bytes]) -> int:
        """Return enough for every pair, even where the model spells a token byte by byte."""
        return 64 + sum(16 + len(token) for token in tokens)

    def reading(self, reply: Reply, tokens: Sequence[bytes]) -> Simulated:
        """Return the values of every token if all can be read, else none.

        A fence around the JSON is taken off. Unreadable is: other text before or after, another length,
        another order of tokens (white space around them aside), values that are no whole numbers from 0 to
        10. Words for numbers are none: a model that breaks the form in one place is not to be trusted in the
        others.
        """
        if reply.status == "truncated":
            return without_values(len(tokens), "truncated")
        try:
            pairs = _answered(json_answer(reply.text or ""))
        except CutOffError:
            return without_values(len(tokens), "truncated")
        except ValueError:
            refused = fault(reply.text or "") == "refused"
            return without_values(len(tokens), "refused" if refused else "unparsable")
        if len(pairs) != len(tokens) or not all(map(_fits, pairs, tokens)):
            return without_values(len(tokens), "unparsable")
        return Simulated(tuple(float(value) for _, value in pairs), None)


def _answered(data: Any) -> list[tuple[Any, Any]]:
    """Return the pairs of an answer, none if it has another form."""
    try:
        return [(pair["token"], pair["activation"]) for pair in data["activations"]]
    except (TypeError, KeyError):
        return []


def _fits(pair: tuple[Any, Any], token: bytes) -> bool:
    """Tell whether a pair holds a token, as it is or as it was shown, and a value."""
    said, value = pair
    if not isinstance(said, str) or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    shown = escaped(token)
    same = said.strip() in {form.strip() for form in (unforged(shown), shown, unescaped(shown))}
    return same and 0 <= value <= _LARGEST and value == int(value)


def _pairs(tokens: Sequence[str], values: Sequence[int]) -> list[dict[str, str | int]]:
    return [{"token": token, "activation": value} for token, value in zip(tokens, values, strict=True)]


def _question(explanation: str, tokens: Sequence[str]) -> str:
    return f"Explanation: {explanation}\nTokens: {_json(tokens)}"


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False)
