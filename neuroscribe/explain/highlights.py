"""Prompts in running text: excerpts with the strongly firing tokens marked, and lists of tokens.

Shorter than token-activation pairs, and better for small models, which lose the thread of long columns. Later
work scores marked excerpts higher for large ones too (Lee et al. 2023). Lists of tokens are put into words as
in Bills et al. 2023; promoted tokens stand beside excerpts as in Neuronpedia's explanations. Wording and
examples are data, in the file named after the kind.
"""

import re
from collections import Counter
from collections.abc import Sequence

from neuroscribe.explain.prompts import Excerpts, Pair
from neuroscribe.explain.wording import Wording, filled, wording
from neuroscribe.ports.replies import Message
from neuroscribe.study.explainers import AnswerForm
from neuroscribe.study.prompts import STRONG
from neuroscribe.text.escaping import quoted, unforged

_MARKED = re.compile(r"<< (.*?) >>")
_BLANK = "␣"
"""Stands for a space that is marked."""


def highlight_messages(excerpts: Excerpts, answer: AnswerForm = "line") -> tuple[Message, ...]:
    """Return the prompt that shows marked excerpts, the last of which is the strongest."""
    own = wording("highlights")
    worked = [_excerpts_question(own, example.shown["excerpts"]) for example in own.examples]
    return own.messages(worked, _excerpts_question(own, marked(excerpts)), answer)


def logit_lens_messages(
    excerpts: Excerpts, promoted: Sequence[str], answer: AnswerForm = "line"
) -> tuple[Message, ...]:
    """Return the prompt that shows marked excerpts and the (escaped) tokens that the neuron promotes."""
    own = wording("logit_lens")
    worked = [
        _excerpts_question(own, example.shown["excerpts"], _promoted(own, example.shown["promoted"]))
        for example in own.examples
    ]
    question = _excerpts_question(own, marked(excerpts), _promoted(own, promoted))
    return own.messages(worked, question, answer)


def token_summary_messages(tokens: Sequence[str], answer: AnswerForm = "line") -> tuple[Message, ...]:
    """Return the prompt that shows a list of (escaped) tokens alone."""
    own = wording("token_summary")
    worked = [_tokens_question(own, example.shown["tokens"]) for example in own.examples]
    return own.messages(worked, _tokens_question(own, tokens), answer)


def marked(excerpts: Excerpts) -> list[str]:
    """Return each excerpt on one line with << >> around the tokens that fire strongly in it.

    Pieces that go on a marked word are marked with it. Spaces inside the marks keep a token from becoming a
    special one, as <s> would; marks that the text itself holds are taken apart. Where no token is strong by
    the neuron's maximum, those from half of the largest activation shown are marked.
    """
    largest = max((value for pairs in excerpts for _, value in pairs), default=0)
    strong = max(1, min(STRONG, (largest + 1) // 2))
    return [_marked(pairs, strong) for pairs in excerpts]


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


def _excerpts_question(own: Wording, excerpts: Sequence[str], promoted: str = "") -> str:
    # The number keeps corpus text from the beginning of a line, where headings and answers stand.
    lines = "\n".join(f"{place}. {excerpt}" for place, excerpt in enumerate(excerpts, start=1))
    tokens = Counter(token for excerpt in excerpts for token in _MARKED.findall(excerpt))
    counted = ", ".join(
        quoted(token) + (f" x{count}" if count > 1 else "") for token, count in tokens.most_common()
    )
    return filled(own.question, excerpts=lines, tokens=counted, promoted=promoted)


def _promoted(own: Wording, tokens: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(quoted(token) for token in tokens)) or own.parts["nothing"]


def _tokens_question(own: Wording, tokens: Sequence[str]) -> str:
    return filled(own.question, tokens=", ".join(dict.fromkeys(quoted(token) for token in tokens)))
