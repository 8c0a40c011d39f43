"""The bodies that OpenAI-compatible servers send, and digits read off a simulation prompt.

The tokenizer is a regular expression under which a hidden value is always a token of its own.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any, Literal

Dialect = Literal["legacy", "chat_shaped", "echo_ignored", "no_logprobs"]
"""How prompts are echoed: with `tokens` and `top_logprobs`, with `content` as in chat, not at all (only the
token generated comes back), or as text alone."""

_TOKEN = re.compile(r" ?\w+|.", re.DOTALL)
_EXPLANATION = re.compile(r"^Explanation: (.*)$", re.MULTILINE)
_HIDDEN_LINE = re.compile(r"^(.*)\t\?$", re.MULTILINE)
_SURE = 0.99  # probability of the scripted digit
_GENERATED = "\n"


def answer_body(
    prompt: str,
    said: str,
    *,
    model: str,
    chat: bool = True,
    logprobs: dict[str, Any] | None = None,
    name: str = "",
) -> str:
    """Return a completion, of a chat or of a text; `name` is its id."""
    message = {"role": "assistant", "content": said, "refusal": None}
    answer: dict[str, Any] = {"message": message} if chat else {"text": said}
    return _body(model, prompt, said, {**answer, "logprobs": logprobs, "finish_reason": "stop"}, name)


def first_token_logprobs(likely: Mapping[str, float], wanted: int, *, legacy: bool) -> dict[str, Any]:
    """Return the log-probabilities of an answer's first token, from the probabilities of likely ones."""
    top = _logs(likely, wanted)
    return (_legacy if legacy else _chat_shaped)([next(iter(top))], [top])


def in_form(said: str, response_format: Mapping[str, Any] | None) -> str:
    """Return a reply as a server that holds models to JSON would bring it out."""
    if not response_format or _is_object(said):
        return said
    schema = response_format.get("json_schema", {}).get("schema")
    return json.dumps(_smallest(schema) if schema else {"answer": said})


def models_body(model: str) -> str:
    """Return the list of models."""
    return json.dumps({"object": "list", "data": [{"id": model, "object": "model"}]})


def error_body(message: str, *, code: str | None = None) -> str:
    """Return an error in the protocol's form."""
    return json.dumps({"error": {"message": message, "type": "scripted", "code": code}})


def echo_body(
    request: dict[str, Any],
    digits: Callable[[str, list[str]], list[int]],
    *,
    dialect: Dialect,
    model: str,
    name: str = "",
) -> str:
    """Return the completion of a simulation prompt, as far as the dialect allows echoed."""
    prompt, wanted = str(request["prompt"]), int(request["logprobs"])
    tokens = [*tokenised(prompt), _GENERATED]
    values = hidden_values(prompt, digits)
    tops: list[dict[str, float] | None] = [None]
    place = len(tokens[0])
    for token in tokens[1:]:
        tops.append(_likeliest(token, values.get(place), wanted))
        place += len(token)
    first = len(tokens) - 1 if dialect == "echo_ignored" else 0
    form = _legacy if dialect == "legacy" else _chat_shaped
    logprobs = None if dialect == "no_logprobs" else form(tokens[first:], tops[first:])
    text = "".join(tokens[first:])
    return _body(model, prompt, "x", {"text": text, "logprobs": logprobs, "finish_reason": "length"}, name)


def tokenised(text: str) -> list[str]:
    """Cut text into words, with the space before them, and single other characters."""
    return _TOKEN.findall(text)


def hidden_values(prompt: str, digits: Callable[[str, list[str]], list[int]]) -> dict[int, int]:
    """Return the value at the character offset of each place hidden in the prompt's last block."""
    explanations = list(_EXPLANATION.finditer(prompt))
    if not explanations:
        return {}
    lines = list(_HIDDEN_LINE.finditer(prompt, explanations[-1].end()))
    values = digits(explanations[-1][1], [_unescaped(line[1]) for line in lines])
    return {line.end() - 1: value for line, value in zip(lines, values, strict=True)}


def _unescaped(token: str) -> str:
    """Undo the backslash escapes that keep a token on one line."""
    return token.encode("latin-1", "backslashreplace").decode("unicode_escape")


def _likeliest(token: str, value: int | None, wanted: int) -> dict[str, float]:
    """Return the likeliest tokens of a place: digits where a value is scripted, else mostly the token."""
    if value is None:
        shares = {token: 0.9, " the": 0.04, "...": 0.02}
    else:
        others = [str(digit) for digit in range(10) if digit != value]
        beside = {"?": 0.003, " the": 0.0002, "\n": 0.0001}
        shares = {str(value): _SURE, **dict.fromkeys(others, 0.0005), **beside}
    return _logs(shares, wanted)


def _logs(shares: Mapping[str, float], wanted: int) -> dict[str, float]:
    likeliest = sorted(shares.items(), key=lambda share: -share[1])[:wanted]
    return {token: math.log(share) for token, share in likeliest}


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _smallest(schema: Mapping[str, Any]) -> Any:
    """Return the simplest value that follows a schema."""
    if "enum" in schema or "const" in schema:
        return schema.get("const", [*schema.get("enum", ()), None][0])
    match schema.get("type"):
        case "object":
            return {name: _smallest(value) for name, value in schema.get("properties", {}).items()}
        case "array":
            return [_smallest(schema.get("items", {})) for _ in range(schema.get("minItems", 0))]
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return ""


def _legacy(tokens: list[str], tops: list[dict[str, float] | None]) -> dict[str, Any]:
    return {
        "tokens": tokens,
        "token_logprobs": [top and top.get(token, -9.0) for token, top in zip(tokens, tops, strict=True)],
        "top_logprobs": tops,
        "text_offset": list(accumulate(map(len, tokens[:-1]), initial=0)),
    }


def _chat_shaped(tokens: list[str], tops: list[dict[str, float] | None]) -> dict[str, Any]:
    entries = [
        {
            "token": token,
            "logprob": (top or {}).get(token, -9.0),
            "top_logprobs": [{"token": other, "logprob": logprob} for other, logprob in (top or {}).items()],
        }
        for token, top in zip(tokens, tops, strict=True)
    ]
    return {"content": entries}


def _body(model: str, prompt: str, said: str, choice: dict[str, Any], name: str) -> str:
    prompt_tokens, completion_tokens = len(tokenised(prompt)), len(tokenised(said))
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    named = {"id": name, "object": "scripted", "model": model}
    return json.dumps({**named, "choices": [{"index": 0, **choice}], "usage": usage})
