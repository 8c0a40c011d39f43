"""What an ideal simulator answers to the prompts that ask in words: words copied, JSON, one digit.

A prompt is told by the instruction it begins with; what it asks about stands after its last `Explanation:`.
"""

import json
import re
from collections.abc import Callable

from neuroscribe.simulate.prompts import wording

Digits = Callable[[str, list[str]], list[int]]
"""The values, 0 to 9, that an explanation gives tokens."""
_PIECE = re.compile(r"< ?\w+>|\\u[0-9a-f]{4}|\\x[0-9a-f]{2}|\\[ntr\\]|\w+|[^\w\s]")


def simulation_answer(prompt: str, digits: Digits) -> str | None:
    """Return the answer to a simulation prompt, None for any other prompt."""
    for layout, answer in _ANSWERS.items():
        if prompt.startswith(wording(layout)["instruction"].strip()):
            own = prompt[prompt.rindex("Explanation: ") :].split("\n")
            return answer(own[0].removeprefix("Explanation: "), own[1:], digits)
    return None


def _words(explanation: str, lines: list[str], digits: Digits) -> str:
    words = _PIECE.findall(lines[0].removeprefix("Text: "))
    fitting = [word for word, value in zip(words, digits(explanation, words), strict=True) if value]
    return ", ".join(fitting) or str(wording("matching_words")["nothing"])


def _pairs(explanation: str, lines: list[str], digits: Digits) -> str:
    tokens = json.loads(lines[0].removeprefix("Tokens: "))
    values = [10 if value == 9 else value for value in digits(explanation, tokens)]
    pairs = [{"token": token, "activation": value} for token, value in zip(tokens, values, strict=True)]
    return json.dumps({"activations": pairs}, ensure_ascii=False)


def _digit(explanation: str, lines: list[str], digits: Digits) -> str:
    return str(digits(explanation, [lines[1].removeprefix("Last token: ")])[0])


_ANSWERS = {"matching_words": _words, "structured": _pairs, "one_at_a_time": _digit}
