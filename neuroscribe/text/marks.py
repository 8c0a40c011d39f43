"""Excerpts in running text, with the tokens on which a neuron fires strongly put into marks."""

import re
from collections.abc import Sequence

from neuroscribe.text.escaping import unforged

Pair = tuple[str, int]
"""A token as shown, and the activation there, from 0 to 10."""
STRONG = 5
"""Activation from which a token is marked."""
_MARKED = re.compile(r"<< (.*?) >>")
_DOUBLED = re.compile(r"\[(?=\[)|\](?=\])")
_BLANK = "␣"
"""Stands for a space that is marked."""


def marked(excerpts: Sequence[Sequence[Pair]]) -> list[str]:
    """Return each excerpt on one line with << >> around the tokens that fire strongly in it.

    Pieces that go on a marked word are marked with it. Spaces inside the marks keep a token from becoming a
    special one, as <s> would; marks that the text itself holds are taken apart. In an excerpt without a
    strong token, those from half of its own largest activation are marked.
    """
    return [_marked(pairs, _least(pairs)) for pairs in excerpts]


def _least(pairs: Sequence[Pair]) -> int:
    """Return the activation from which a token of an excerpt is marked."""
    largest = max((value for _, value in pairs), default=0)
    return STRONG if largest >= STRONG else max(1, (largest + 1) // 2)


def _marked(pairs: Sequence[Pair], strong: int) -> str:
    runs: list[tuple[str, bool]] = [("", False)]
    for token, value in pairs:
        text, was_strong = runs[-1]
        is_strong = value >= strong
        if is_strong == was_strong and not (is_strong and token.startswith(" ")):
            runs[-1] = text + token, is_strong
        else:
            runs.append((token, is_strong))
    return "".join(_mark(text) if is_strong else _plain(text) for text, is_strong in runs).strip()


def _plain(text: str) -> str:
    """Return unmarked text that cannot run together with the marks on its sides."""
    before, after = " " * text.startswith(">"), " " * text.endswith("<")
    return before + unforged(text) + after


def _mark(text: str) -> str:
    core = text.strip(" ")
    if not core:
        return f"<< {_BLANK * len(text)} >>"
    before, after = text.split(core, 1)
    return f"{before}<< {unforged(core)} >>{after}"


def marked_texts(excerpt: str) -> list[str]:
    """Return what stands in the marks of an excerpt, in order."""
    return _MARKED.findall(excerpt)


def marked_phrases(excerpt: str, before: int) -> list[str]:
    """Return what stands in the marks of an excerpt, in order, with up to so many words before each."""
    return [
        " ".join([*_unmarked(excerpt[: found.start()]).split()[-before:], found[1]])
        for found in _MARKED.finditer(excerpt)
    ]


def _unmarked(excerpt: str) -> str:
    return _MARKED.sub(lambda found: found[1], excerpt)


def missed(pairs: Sequence[Pair]) -> str:
    """Return an excerpt on one line with [[ ]] around the one token with a value, which is not marked.

    Such brackets in the text itself are taken apart.
    """
    place = next(place for place, (_, value) in enumerate(pairs) if value)
    (token, _), before, after = pairs[place], _text(pairs[:place]), _text(pairs[place + 1 :])
    space, core = " " * token.startswith(" "), _apart(token.strip(" ")) or _BLANK
    before += " " * (before.endswith("[") and not space)
    return f"{before}{space}[[ {core} ]]{' ' * after.startswith(']')}{after}".strip()


def _text(pairs: Sequence[Pair]) -> str:
    return _apart("".join(token for token, _ in pairs))


def _apart(text: str) -> str:
    return _DOUBLED.sub(lambda found: found[0] + " ", unforged(text))
