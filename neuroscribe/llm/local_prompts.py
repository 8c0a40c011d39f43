"""Prompts as tokens of a local model; what stands in a text or a message never becomes a token of control."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from neuroscribe.errors import LLMError
from neuroscribe.ports.replies import Message, as_text, without_system
from neuroscribe.text.token_bytes import plain_encoding

PromptStyle = Literal["completion", "chat"]
_CONTENT = "\ue000{}\ue001"
"""Stands for a message in a chat template, which has no private characters of its own."""


class PromptTokens:
    """Writes texts and messages as token ids with a Hugging Face tokenizer.

    Raises LLMError for a token that the model's embedding of `rows` lacks, and a template that fails.
    """

    def __init__(self, tokenizer: Any, style: PromptStyle, *, rows: int | None = None) -> None:
        self._tokenizer = tokenizer
        self._style = style
        self._rows = rows
        self._encode = plain_encoding(tokenizer)

    @cached_property
    def opening(self) -> list[int]:
        """What the tokenizer puts before every text: for some models a token they cannot do without."""
        # Whether it is called the beginning of a sequence, not every folder says.
        begin = self._tokenizer.encode("")[:1]
        if not begin or begin != self._tokenizer.encode("0")[:1]:
            return []
        named = {self._tokenizer.bos_token_id, *self._tokenizer.added_tokens_decoder}
        return begin if named.issuperset(begin) else []

    def text(self, text: str) -> list[int]:
        """Return the ids of a piece of running text; text that looks like a special token stays text."""
        if self._anchor:
            anchor, anchored = self._plain(self._anchor), self._plain(self._anchor + text)
            if anchored[: len(anchor)] == anchor:
                return anchored[len(anchor) :]
        return self._plain(text)

    def prompt(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        """Return the part that a stage's prompts share, up to the last question, and this prompt's own."""
        if self._style == "chat":
            return self._chat(messages)
        question = _last_question(messages)
        shared = as_text(messages[:question]) if question else ""
        return [*self.opening, *self.text(shared)], self.text(as_text(messages).removeprefix(shared))

    @cached_property
    def knows_system(self) -> bool:
        """Whether the chat template takes an instruction of the system; some refuse it, some drop it."""
        try:
            self._parts([Message("system", ""), Message("user", "")])
        except LLMError:
            return False
        return True

    def _chat(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        """Fill a chat template: its own text may hold special tokens, the messages may not."""
        tokens: list[int] = []
        shared = 0
        for index, part in enumerate(self._parts(messages, merged=not self.knows_system)):
            if index % 2 == 0:
                tokens += self._known(self._tokenizer.encode(part, add_special_tokens=False))
                continue
            if int(part) == _last_question(messages):
                shared = len(tokens)
            tokens += self.text(messages[int(part)].content)
        return tokens[:shared], tokens[shared:]

    def _parts(self, messages: Sequence[Message], *, merged: bool = False) -> list[str]:
        """Return the template's text and the places of messages in turn; `merged` ones have no system.

        Raises LLMError where the template fails, or leaves out a message.
        """
        places = [Message(m.role, _CONTENT.format(place)) for place, m in enumerate(messages)]
        turns = without_system(places) if merged else places
        ends_open = messages[-1].role == "assistant"
        try:
            rendered = self._tokenizer.apply_chat_template(
                [{"role": turn.role, "content": turn.content} for turn in turns],
                tokenize=False,
                add_generation_prompt=not ends_open,
                continue_final_message=ends_open,
            )
        except Exception as error:  # a template is somebody's program
            raise _unfilled(str(error) or type(error).__name__) from error
        parts = re.split(_CONTENT.format(r"(\d+)"), rendered)
        # Some put the system into the last turn: the order is theirs.
        if {int(place) for place in parts[1::2]} != set(range(len(messages))):
            raise _unfilled("it leaves out turns")
        return parts

    def _plain(self, text: str) -> list[int]:
        return self._known(self._encode(text))

    def _known(self, tokens: list[int]) -> list[int]:
        """Return token ids; raises LLMError where the model has none such."""
        if self._rows is not None and (outside := [token for token in tokens if token >= self._rows]):
            token = f"token {outside[0]} ({self._tokenizer.decode(outside[:1])!r})"
            raise LLMError(
                f"a prompt holds {token}, but the model's embedding has rows 0 to {self._rows - 1};"
                " give a model and a tokenizer that were made for each other, or leave texts with it out"
            )
        return tokens

    @cached_property
    def _anchor(self) -> str:
        """A line break where the tokenizer begins every text with a space that is not there, else nothing."""
        return "" if self._plain("\n0") == self._plain("\n") + self._plain("0") else "\n"


def _unfilled(why: str) -> LLMError:
    return LLMError(
        f"the local model's chat template cannot be filled with the turns of a question ({why}); set"
        ' prompt_style = "completion" in the study\'s [llm] or [simulator_llm], or name another model there'
    )


def _last_question(messages: Sequence[Message]) -> int:
    return max(place for place, message in enumerate(messages) if message.role == "user")
