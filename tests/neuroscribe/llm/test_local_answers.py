"""Prompts answered together are answered as each would be alone, and each ends where it should."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from neuroscribe.llm.local import LocalLLM
from neuroscribe.llm.local_decoding import can_batch, can_fork, continued
from neuroscribe.ports.models import BatchingLLM
from neuroscribe.ports.replies import Message
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.tokenizers import byte_tokenizer

PROMPTS = ("a", "some longer text", "middling")
PREFIX = "what all begin with, "


def likeliest(logits: torch.Tensor) -> int:
    return int(logits.argmax())


def answers(model: Any, prompts: Sequence[str], *, prefix: str = "", **options: Any) -> list[list[int]]:
    cache = None
    with torch.inference_mode():
        if prefix:
            ids = torch.tensor([list(prefix.encode())])
            cache = model.base_model(input_ids=ids, use_cache=True).past_key_values
        settings: dict[str, Any] = {"most": 12, "ends": lambda _: False, **options}
        return continued(
            model,
            cache,
            [list(prompt.encode()) for prompt in prompts],
            draws=[likeliest] * len(prompts),
            **settings,
        )


@pytest.fixture(params=["gpt2", "llama", "qwen2", "gpt_neox"])
def model(request: pytest.FixtureRequest) -> Any:
    room = "n_positions" if request.param == "gpt2" else "max_position_embeddings"
    return random_subject(request.param, vocab_size=256, **{room: 128})


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_each_prompt_is_answered_as_if_it_were_alone(model: Any, prefix: str) -> None:
    together = answers(model, PROMPTS, prefix=prefix)
    alone = [answers(model, [prompt], prefix=prefix)[0] for prompt in PROMPTS]
    assert together == alone
    assert len({tuple(answer) for answer in alone}) > 1, (
        "all answers are the same, so that this shows nothing"
    )
    assert {len(answer) for answer in alone} == {12}


def test_an_answer_that_has_ended_leaves_the_others_as_they_were(model: Any) -> None:
    whole = answers(model, PROMPTS, prefix=PREFIX)
    last = whole[1][3]
    shortened = answers(model, PROMPTS, prefix=PREFIX, ends=lambda token: token == last)
    assert shortened == [answer[: answer.index(last)] if last in answer else answer for answer in whole]
    assert len(shortened[1]) < 12


def test_an_answer_of_which_there_is_enough_keeps_its_last_token(model: Any) -> None:
    whole = answers(model, PROMPTS)
    enough = [lambda tokens: len(tokens) == 2, lambda _: False, lambda tokens: len(tokens) == 5]
    assert [len(answer) for answer in answers(model, PROMPTS, enough=enough)] == [2, 12, 5]
    assert answers(model, PROMPTS, enough=enough)[0] == whole[0][:2]


def test_a_model_that_looks_back_some_places_only_takes_one_prompt_at_a_time(model: Any) -> None:
    assert can_batch(model, None)
    assert not can_batch(model, 128)


def local(model: Any) -> BatchingLLM:
    llm = LocalLLM(model, byte_tokenizer(), identity="tiny", style="completion")
    assert isinstance(llm, BatchingLLM)
    return llm


def test_replies_are_those_of_one_call_each_and_temperature_draws_by_the_seed() -> None:
    llm = local(random_subject("llama", vocab_size=256, max_position_embeddings=256))
    before = [Message("system", "go on"), Message("user", "one"), Message("assistant", "two")]
    prompts = [[*before, Message("user", f"text {place}: {'word ' * place}")] for place in range(19)]

    async def asked(**options: Any) -> tuple[list[str | None], list[str | None]]:
        together = await llm.replies(prompts, max_tokens=6, **options)
        alone = [await llm.reply(prompt, max_tokens=6, **options) for prompt in prompts]
        return [reply.text for reply in together], [reply.text for reply in alone]

    for options in ({"temperature": 0.0, "seed": 0}, {"temperature": 1.0, "seed": 3}):
        together, alone = asyncio.run(asked(**options))
        assert together == alone
        assert len(together) == len(prompts) > llm.replies_at_once


@pytest.mark.parametrize(("most", "rows"), [(6, [16, 3]), (3000, [5, 5, 5, 4])])
def test_as_many_prompts_share_a_batch_as_its_memory_allows(most: int, rows: list[int]) -> None:
    model = random_subject("llama", vocab_size=256, max_position_embeddings=4096)
    sizes: list[int] = []
    model.register_forward_pre_hook(
        lambda _, __, given: sizes.append(len(given["input_ids"])), with_kwargs=True
    )
    llm = local(model)
    prompts = [[Message("system", "go on"), Message("user", f"text {place}")] for place in range(19)]
    stopped: dict[str, Any] = {"temperature": 0.0, "seed": 0, "enough": [lambda _: True] * len(prompts)}
    asyncio.run(llm.replies(prompts, max_tokens=most, **stopped))
    assert sizes == rows


def test_an_answer_stopped_because_there_is_enough_counts_as_truncated() -> None:
    llm = local(random_subject("llama", vocab_size=256, max_position_embeddings=256))
    prompts = [[Message("system", "go on"), Message("user", own)] for own in ("one", "two")]
    options: dict[str, Any] = {"max_tokens": 30, "temperature": 0.0, "seed": 0}
    replies = asyncio.run(llm.replies(prompts, enough=[lambda _: True, lambda _: False], **options))
    assert replies[0].status == "truncated"
    assert replies[0].usage.completion_tokens <= 1


class OddLayer:
    """What a layer of linear attention keeps."""


def test_only_caches_of_keys_and_values_alone_are_shared_by_rows(model: Any) -> None:
    cache = model.base_model(input_ids=torch.tensor([[1, 2]]), use_cache=True).past_key_values
    assert can_fork(cache)
    cache.layers[-1] = OddLayer()
    assert not can_fork(cache)
    assert not can_fork(None)
