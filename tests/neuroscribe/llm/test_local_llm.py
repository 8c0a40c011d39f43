"""What a model in this process cannot do is told in one message."""

import asyncio
import json
import math
from typing import Any

import pytest
import torch

from neuroscribe.errors import CapabilityError, LLMError
from neuroscribe.llm.local import LocalLLM
from neuroscribe.llm.local_decoding import forked
from neuroscribe.ports.models import NextTokenScorer
from neuroscribe.ports.replies import Message, Reply, Usage
from neuroscribe.ports.rows import Row
from neuroscribe.ports.samples import sample_of
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.tokenizers import byte_tokenizer

LIMIT = 32
LETTERS = byte_tokenizer().encode("abcdefghijklmnopqrstuvwxyz")
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
    with pytest.raises(LLMError, match=rf"takes {LIMIT + 1} tokens.*corpus.sequence_length"):
        model.prefix([1] * LIMIT, [1])


def test_a_row_is_measured_by_its_positions_and_not_by_its_places() -> None:
    model = llm()
    prefix = model.prefix([1] * (LIMIT - 3))

    def read(last: int) -> list[torch.Tensor]:
        questions = tuple((1 + start, 1 + start + last) for start in range(0, 4 * last, last))
        return model.probabilities(prefix, [Row([1] * (1 + 4 * last), [4 * last], questions)], [2])

    assert [one.shape for one in read(2)] == [(1, 1)]
    with pytest.raises(LLMError, match=rf"takes {LIMIT + 1} tokens, .* reads {LIMIT}"):
        read(3)


def test_a_prefix_is_kept_and_no_use_changes_it() -> None:
    model = llm()
    prefix = model.prefix([1, 2], [3])
    before = [(layer.keys.clone(), layer.values.clone()) for layer in prefix.layers]

    rows = [Row([4, 5], [1]), Row([6, 7, 8], [0, 2], ((1, 2), (2, 3)))]
    first = model.probabilities(prefix, rows, [9, 10])
    replied(model, 10, 3)
    second = model.probabilities(model.prefix([1, 2], [3]), rows, [9, 10])

    assert model.prefix([1, 2], [3]) is prefix
    assert prefix.get_seq_length() == 3
    for layer, (keys, values) in zip(prefix.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_continuation_shares_the_prefix_with_it_and_copies_nothing() -> None:
    prefix = llm().prefix([1, 2, 3])
    for rows in (1, 4):
        own = forked(prefix, rows)
        assert [layer.keys.shape[0] for layer in own.layers] == [rows] * len(prefix.layers)
        for layer, other in zip(own.layers, prefix.layers, strict=True):
            assert layer.keys.data_ptr() == other.keys.data_ptr()
            assert layer.values.data_ptr() == other.values.data_ptr()


def test_few_prefixes_are_kept_and_those_used_last() -> None:
    model = llm()
    first, second = model.prefix([1]), model.prefix([2])
    for token in (3, 4, 5):
        model.prefix([1])
        model.prefix([token])

    assert model.prefix([1]) is first
    assert model.prefix([2]) is not second


def test_layers_that_are_written_into_are_copied_and_not_shared_by_rows() -> None:
    from transformers import DynamicCache
    from transformers.cache_utils import LinearAttentionLayer

    cache: Any = DynamicCache()
    cache.layers.append(LinearAttentionLayer())
    cache.layers[0].update_recurrent_state(torch.ones(1, 2))
    own = forked(cache)
    own.layers[0].update_recurrent_state(torch.zeros(1, 2))

    assert cache.layers[0].recurrent_states[0].sum() == 2
    with pytest.raises(CapabilityError, match="keeps LinearAttentionLayer between tokens"):
        forked(cache, 2)


def test_a_reply_that_uses_up_its_tokens_is_truncated_and_counted() -> None:
    reply = replied(llm(), 12, 3)

    # "s", a blank line; "u", a blank line, six letters.
    assert reply.status == "truncated"
    assert reply.usage == Usage(prompt_tokens=12, cached_tokens=3, completion_tokens=3, cost_usd=0.0)
    assert reply.text is not None


def test_a_reply_is_what_the_model_itself_would_write() -> None:
    model = random_subject("gpt2", vocab_size=256, n_positions=LIMIT)
    model.generation_config.eos_token_id = None
    ids = list(b"s\n\nu\n\naaaaaa")
    with torch.inference_mode():
        for _ in range(4):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))

    reply = replied(LocalLLM(model, LetterTokenizer(), identity="tiny"), 12, 4)

    assert json.loads(reply.raw)["tokens"] == ids[-4:]


@pytest.mark.parametrize("style", ["completion", "chat"])
def test_the_next_tokens_are_the_likeliest_of_the_model_itself(style: Any) -> None:
    tokenizer = byte_tokenizer(chat=True)
    model = random_subject("llama", vocab_size=len(tokenizer), max_position_embeddings=128)
    scorer = LocalLLM(model, tokenizer, identity="tiny", style=style)
    messages = [Message("system", "rate"), Message("user", "cat"), Message("assistant", "it is ")]
    text = "rate\n\ncat\n\nit is "
    if style == "chat":
        text = "<|turn|>system\nrate<|end|>\n<|turn|>user\ncat<|end|>\n<|turn|>assistant\nit is"
        messages[2] = Message("assistant", "it is")

    found = asyncio.run(scorer.next_token(messages))

    ids = tokenizer.encode(text, add_special_tokens=False)
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
    likeliest = next(int(one) for one in expected.argsort(descending=True) if one in LETTERS)
    assert isinstance(scorer, NextTokenScorer)
    assert found.status == "ok"
    assert len(found.top_logprobs) <= 50
    assert found.top_logprobs[tokenizer.decode([likeliest])] == pytest.approx(
        float(expected[likeliest]), abs=1e-4
    )
    shared = text.index("cat")
    shared_ids = tokenizer.encode(text[:shared], add_special_tokens=False)
    assert found.usage == Usage(len(ids), len(shared_ids), 1, cost_usd=0.0)


def test_tokens_with_one_text_count_together() -> None:
    tokenizer = byte_tokenizer()
    broken = [number for number in range(256) if tokenizer.decode([number]) == "\ufffd"]
    model = random_subject("llama", vocab_size=len(tokenizer))
    head = torch.nn.Linear(model.config.hidden_size, len(tokenizer))
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-30)
        head.bias[broken[:2]] = 0.0
        head.bias[tokenizer.encode("7")[0]] = 0.0
    model.set_output_embeddings(head)

    found = asyncio.run(LocalLLM(model, tokenizer, identity="t").next_token([Message("user", "a")]))

    assert found.top_logprobs["\ufffd"] == pytest.approx(math.log(2 / 3), abs=1e-4)
    assert found.top_logprobs["7"] == pytest.approx(math.log(1 / 3), abs=1e-4)


def test_next_tokens_can_be_had_from_a_model_that_passes_the_check() -> None:
    asyncio.run(llm().probe_next_token())
    with pytest.raises(LLMError, match="no chat template"):
        asyncio.run(llm("chat").probe_next_token())


def test_next_tokens_of_a_prompt_beyond_the_models_length_are_refused() -> None:
    with pytest.raises(LLMError, match=rf"takes {LIMIT + 1} tokens"):
        asyncio.run(llm().next_token([Message("user", "x" * (LIMIT - 1))]))


def test_a_model_that_cannot_do_without_a_first_token_gets_it() -> None:
    tokenizer = byte_tokenizer(begins=True)
    model = random_subject("llama", vocab_size=len(tokenizer), max_position_embeddings=128)
    begin = tokenizer.bos_token_id
    beginning = LocalLLM(model, tokenizer, identity="tiny")

    found = asyncio.run(beginning.next_token([Message("user", "cat")]))

    with torch.inference_mode():
        ids = [begin, *tokenizer.encode("cat\n\n", add_special_tokens=False)]
        expected = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
    likeliest = next(int(one) for one in expected.argsort(descending=True) if one in LETTERS)
    assert found.top_logprobs[tokenizer.decode([likeliest])] == pytest.approx(
        float(expected[likeliest]), abs=1e-4
    )
    assert beginning.opening == [begin]
    assert beginning.identity == f"tiny (completion, begins with token {begin})"


class Refusing(LetterTokenizer):
    """Knows no system, and no examples either if it is `strict`."""

    def __init__(self, *, strict: bool) -> None:
        super().__init__("any")
        self._strict = strict

    def apply_chat_template(self, turns: list[dict[str, str]], **_: object) -> str:
        if turns[0]["role"] == "system" or (self._strict and len(turns) > 1):
            raise ValueError("System role not supported")
        return super().apply_chat_template(turns)


def refusing(*, strict: bool = False) -> LocalLLM:
    model = random_subject("gpt2", vocab_size=256, n_positions=LIMIT)
    return LocalLLM(model, Refusing(strict=strict), identity="tiny", style="chat")


def test_a_model_whose_template_knows_no_system_answers_and_says_so_in_its_name() -> None:
    turns = [Message("system", "be"), Message("user", "go")]
    reply = asyncio.run(refusing().reply(turns, max_tokens=1, temperature=0.0, seed=0))

    assert reply.usage.prompt_tokens == len("be\n\ngo")
    assert refusing().identity == "tiny (chat, no system)"
    assert llm("chat", template="any").identity == "tiny (chat)"


def test_the_check_fills_the_template_with_the_forms_of_a_run() -> None:
    worked = [Message("system", ""), Message("user", ""), Message("assistant", ""), Message("user", "")]
    samples = [sample_of(worked, max_tokens=1)]
    asyncio.run(refusing().check(samples))
    with pytest.raises(LLMError, match="System role not supported"):
        asyncio.run(refusing(strict=True).check(samples))
