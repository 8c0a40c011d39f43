"""The in-process simulator: one masked pass gives what separate questions would."""

import asyncio

import pytest
import torch

from neuroscribe.local_llm import LocalLLM
from neuroscribe.ports import Message
from neuroscribe.simulate.local import LocalSimulator
from neuroscribe.simulate.prompts import ASKING, DIGITS, QUESTION, asked_beginning, asked_opening
from neuroscribe.testing.random_subjects import random_subject

EXPLANATION = "words for colours"
TOKENS = (b" red", b"\n", b"<script>", b" red", "\u200f".encode(), b" the", b"\xff")


class ByteTokenizer:
    """A byte is a token; enough of Hugging Face's interface for a local LLM."""

    eos_token_id = 0

    def encode(self, text: str, **_: object) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: list[int], **_: object) -> str:
        return bytes(token % 256 for token in tokens).decode(errors="replace")


@pytest.fixture(scope="module")
def llm() -> LocalLLM:
    model = random_subject("llama", vocab_size=256, max_position_embeddings=4096).eval()
    model.generation_config.eos_token_id = 0
    return LocalLLM(model, ByteTokenizer(), identity="tiny")


def test_each_question_is_answered_as_if_it_were_the_only_one(llm: LocalLLM) -> None:
    simulator = LocalSimulator(llm)
    (simulated,) = asyncio.run(simulator.simulate(EXPLANATION, [TOKENS]))

    text = "".join(simulator.texts(TOKENS))
    for token, activation in zip(simulator.texts(TOKENS), simulated.activations, strict=True):
        prompt = asked_beginning() + asked_opening(EXPLANATION) + text + ASKING + token + QUESTION
        alone = _digit_probabilities(llm, prompt)
        expected = float(alone @ torch.arange(10.0) / alone.sum()) * 10 / 9
        assert activation == pytest.approx(expected, abs=1e-3)


def test_the_same_token_gets_the_same_answer_wherever_it_stands(llm: LocalLLM) -> None:
    (simulated,) = asyncio.run(LocalSimulator(llm).simulate(EXPLANATION, [TOKENS]))

    assert simulated.activations[0] == pytest.approx(simulated.activations[3], abs=1e-4)


def test_what_was_asked_before_changes_nothing(llm: LocalLLM) -> None:
    fresh = asyncio.run(LocalSimulator(llm).simulate(EXPLANATION, [TOKENS]))
    used = LocalSimulator(llm)
    asyncio.run(used.simulate("numbers", [TOKENS[:3]]))

    assert asyncio.run(used.simulate(EXPLANATION, [TOKENS])) == fresh


def test_a_reply_does_not_depend_on_the_replies_before_it(llm: LocalLLM) -> None:
    def reply(question: str) -> str | None:
        messages = [Message("system", "Say."), Message("user", question), Message("assistant", "It is")]
        return asyncio.run(llm.reply(messages, max_tokens=5, temperature=0.0, seed=0)).text

    first = reply("one?")
    reply("two? three?")

    assert reply("one?") == first


def test_a_reply_ends_with_its_line(llm: LocalLLM) -> None:
    messages = [Message("user", "go"), Message("assistant", "it")]

    reply = asyncio.run(llm.reply(messages, max_tokens=30, temperature=1.0, seed=3))

    assert reply.status == ("truncated" if reply.usage.completion_tokens == 30 else "ok")
    assert reply.text is not None
    assert "\n" not in reply.text
    assert reply.usage.completion_tokens <= 30


def _digit_probabilities(llm: LocalLLM, prompt: str) -> torch.Tensor:
    ids = torch.tensor([list(prompt.encode())])
    with torch.inference_mode():
        logits = llm._model(input_ids=ids, use_cache=False).logits[0, -1]
    return logits.float().softmax(-1)[[ord(digit) for digit in DIGITS]]
