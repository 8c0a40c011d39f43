"""What a model in this process cannot do is told in one message."""

import asyncio
from typing import Any

import pytest
import torch

from neuroscribe.errors import LLMError
from neuroscribe.local_llm import LocalLLM
from neuroscribe.ports import Message, Reply
from neuroscribe.testing.random_subjects import random_subject

LIMIT = 32
REMEDY = r"excerpts or excerpt_tokens .* another model in \[llm\]"


class LetterTokenizer:
    """A byte is a token; enough of Hugging Face's interface for a local LLM."""

    eos_token_id = None

    def __init__(self, chat_template: str | None = None) -> None:
        self.chat_template = chat_template

    def encode(self, text: str, **_: object) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: list[int], **_: object) -> str:
        return bytes(tokens).decode(errors="replace")

    def apply_chat_template(self, turns: list[dict[str, str]], **_: object) -> str:
        return "".join(turn["content"] for turn in turns)


def llm(style: Any = "completion", *, template: str | None = None) -> LocalLLM:
    model = random_subject("gpt2", vocab_size=256, n_positions=LIMIT)
    model.generation_config.eos_token_id = None
    return LocalLLM(model, LetterTokenizer(template), identity="tiny", style=style)


def replied(model: LocalLLM, letters: int, max_tokens: int) -> Reply:
    contents = ("s", "u", "a" * (letters - 6))  # and two blank lines between them
    messages = [
        Message("system", contents[0]),
        Message("user", contents[1]),
        Message("assistant", contents[2]),
    ]
    return asyncio.run(model.reply(messages, max_tokens=max_tokens, temperature=0.0, seed=0))


def test_chat_without_a_chat_template_is_refused_with_the_remedy() -> None:
    with pytest.raises(LLMError, match=r'tiny \(chat\): .*no chat template; set prompt_style = "completion"'):
        asyncio.run(llm("chat").check())


def test_chat_with_a_template_and_completion_without_one_pass_the_check() -> None:
    asyncio.run(llm("chat", template="{{ messages }}").check())
    asyncio.run(llm().check())


def test_a_prompt_and_answer_that_just_fit_are_answered() -> None:
    assert replied(llm(), LIMIT - 4, 4).usage.prompt_tokens == LIMIT - 4


@pytest.mark.parametrize(("letters", "max_tokens"), [(LIMIT - 4, 5), (LIMIT + 1, 0)])
def test_a_prompt_and_answer_beyond_the_models_length_are_refused(letters: int, max_tokens: int) -> None:
    with pytest.raises(LLMError, match=rf"tiny .* takes {LIMIT + 1} tokens, .* reads {LIMIT}; .*{REMEDY}"):
        replied(llm(), letters, max_tokens)


def test_a_chat_beyond_the_models_length_is_refused() -> None:
    messages = [Message("user", "x" * LIMIT)]
    with pytest.raises(LLMError, match=rf"takes {LIMIT + 1} tokens"):
        asyncio.run(llm("chat", template="any").reply(messages, max_tokens=1, temperature=0.0, seed=0))


def test_a_prefix_beyond_the_models_length_is_refused() -> None:
    model = llm()
    cache, _ = model.prefix("x" * LIMIT)
    with pytest.raises(LLMError, match=rf"takes {LIMIT + 1} tokens.*corpus.sequence_length"):
        model.extended(cache, [1])


def test_a_row_is_measured_by_its_positions_and_not_by_its_places() -> None:
    model = llm()
    cache, length = model.prefix("x" * (LIMIT - 2))
    tokens, visible = [1] * 8, torch.eye(8, dtype=torch.bool)

    def row(last: int) -> torch.Tensor:
        return model.probabilities(cache, tokens, torch.full((8,), last), visible, [7], [2])

    assert row(1).shape == (1, 1)
    with pytest.raises(LLMError, match=rf"takes {length + 3} tokens, .* reads {LIMIT}"):
        row(2)
