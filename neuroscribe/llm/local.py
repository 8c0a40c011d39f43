"""A causal language model in this process: continues text, and reads probabilities at known places.

The beginning that prompts share is run once and kept. What is computed for one call depends on that call
alone, never on the calls before it, so that a run that was killed and continued gives the same answers.
All tensors are on the model's device; CUDA has not been tried here.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuroscribe.errors import LLMError
from neuroscribe.llm.local_decoding import Draw, cached_length, can_batch, can_fork, continued, forked
from neuroscribe.llm.local_prompts import PromptStyle, PromptTokens
from neuroscribe.llm.local_reading import check_questions, finite, look_back, row_probabilities
from neuroscribe.ports.replies import Message, NextToken, Reply, Schema, Usage
from neuroscribe.ports.rows import Row
from neuroscribe.ports.samples import A_DIGIT, Sample

_KEPT_PREFIXES = 4
_LIKELIEST = 50
_REPLIES, _REPLY_PLACES = 16, 2**14
"""Prompts that are answered at once, and the tokens that they may hold, for each keeps keys and values."""


class LocalLLM:
    """Fulfils `LLM`, `NextTokenScorer` and `RowReader` with a Hugging Face model and its tokenizer."""

    calls_at_once = 1
    """Calls are computed here, one after the other."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        identity: str,
        style: PromptStyle = "completion",
        batch_places: int = 4096,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._style = style
        self._identity = identity
        self._batch_places = batch_places
        self._prompts = PromptTokens(tokenizer, style, rows=model.get_input_embeddings().weight.shape[0])
        self._prefixes: dict[tuple[tuple[int, ...], ...], Any] = {}

    @property
    def identity(self) -> str:
        """Model, revision, dtype, prompt style, what prompts begin with, and whether they know a system."""
        opening, merged = self._prompts.opening, self._is_merged
        began = f", begins with token {opening[0]}" if opening else ""
        return f"{self._identity} ({self._style}{began}{', no system' if merged else ''})"

    def styled(self, style: PromptStyle) -> "LocalLLM":
        """Return the same weights, asked in another style."""
        return LocalLLM(
            self._model,
            self._tokenizer,
            identity=self._identity,
            style=style,
            batch_places=self._batch_places,
        )

    @property
    def opening(self) -> list[int]:
        """Token ids that every prompt of running text begins with; none for most models."""
        return self._prompts.opening

    def encode(self, text: str) -> list[int]:
        """Return token ids of plain text; text that looks like a special token stays text."""
        return self._prompts.text(text)

    async def reply(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        schema: Schema | None = None,
    ) -> Reply:
        """Continue the prompt until its line (completion) or turn (chat) ends.

        A schema is not enforced. Raises LLMError when prompt and answer are longer than the model can read.
        """
        (reply,) = await self.replies(
            [messages], max_tokens=max_tokens, temperature=temperature, seed=seed, schema=schema
        )
        return reply

    @property
    def replies_at_once(self) -> int:
        """Prompts that one call of `replies` should hold; one where the model cannot batch them."""
        return _REPLIES if can_batch(self._model, look_back(self._model)) else 1

    async def replies(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        schema: Schema | None = None,
        enough: Sequence[Callable[[str], bool]] = (),
    ) -> list[Reply]:
        """Continue several prompts as `reply` does, at once where all begin alike and the model can."""
        tokens = [self._prompts.prompt(messages) for messages in prompts]
        lengths = [len(shared) + len(rest) + max_tokens for shared, rest in tokens]
        for length in lengths:
            self._check_length(length)
        alike = all(shared == tokens[0][0] and rest for shared, rest in tokens)
        together = alike and can_fork(self.prefix(tokens[0][0]))
        size = max(1, min(self.replies_at_once, _REPLY_PLACES // max(lengths))) if together else 1
        answered: list[Reply] = []
        for start in range(0, len(tokens), size):
            batch, wanted = tokens[start : start + size], enough[start : start + size]
            with torch.inference_mode():
                made = continued(
                    self._model,
                    self.prefix(batch[0][0]),
                    [rest for _, rest in batch],
                    most=max_tokens,
                    draws=[_drawing(temperature, seed) for _ in batch],
                    ends=self._ends_an_answer,
                    enough=[partial(self._is_enough, told) for told in wanted],
                )
            answered += [
                self._reply(shared, rest, answer, len(answer) == max_tokens)
                for (shared, rest), answer in zip(batch, made, strict=True)
            ]
        return [
            replace(reply, status="truncated") if told(reply.text or "") else reply
            for reply, told in zip(answered, enough or [_never] * len(answered), strict=True)
        ]

    def _reply(self, shared: Sequence[int], rest: Sequence[int], tokens: list[int], cut: bool) -> Reply:
        text = self._tokenizer.decode(tokens, skip_special_tokens=True).strip()
        raw = json.dumps({"text": text, "tokens": tokens}, ensure_ascii=False)
        status = "truncated" if cut else "ok"
        return Reply(text, status, raw, Usage(len(shared) + len(rest), len(shared), len(tokens), 0.0))

    async def next_token(self, messages: Sequence[Message]) -> NextToken:
        """Return the 50 likeliest tokens right after the prompt; tokens with the same text count as one.

        Raises LLMError when the prompt is longer than the model can read or the model's numbers overflow.
        """
        shared, rest = self._prompts.prompt(messages)
        self._check_length(len(shared) + len(rest))
        with torch.inference_mode():
            logits = self._last_logits(rest, forked(self.prefix(shared)))
            logprobs = logits - finite(logits.logsumexp(-1))
            likeliest = logprobs.topk(min(_LIKELIEST, len(logits)))
        by_text: dict[str, float] = {}
        for token, value in zip(likeliest.indices, likeliest.values, strict=True):
            text = self._tokenizer.decode([int(token)])
            before = torch.tensor(by_text.get(text, -torch.inf))
            by_text[text] = float(torch.logaddexp(before, value))
        raw = json.dumps(by_text, ensure_ascii=False)
        return NextToken(by_text, "ok", raw, Usage(len(shared) + len(rest), len(shared), 1, 0.0))

    async def check(self, samples: Sequence[Sample] = ()) -> None:
        """Raise LLMError when chat is asked of a model that was not made for it, or not in these forms."""
        if self._style == "chat" and not getattr(self._tokenizer, "chat_template", None):
            raise LLMError(
                f'{self.identity}: its tokenizer has no chat template; set prompt_style = "completion" in'
                " the study's [llm], or name another model there"
            )
        for sample in samples:
            self._prompts.prompt(sample.messages)

    async def probe_next_token(self, sample: Sample = A_DIGIT) -> None:
        """Raise LLMError, before anything is spent, where `check` does or the model's numbers overflow."""
        await self.check([sample])
        await self.next_token(sample.messages)

    def prefix(self, *parts: Sequence[int]) -> Any:
        """Return the key-value cache of token ids, part after part; None where there are none.

        It is kept, with those of the first parts, and must not be extended: see `forked`. Raises LLMError
        when it is longer than the model can read.
        """
        key = tuple(tuple(part) for part in parts if part)
        if not key:
            return None
        if key not in self._prefixes:
            before = self.prefix(*key[:-1])
            self._check_length(cached_length(before) + len(key[-1]))
            while len(self._prefixes) >= _KEPT_PREFIXES:
                del self._prefixes[next(iter(self._prefixes))]
            self._prefixes[key] = self._extended(forked(before), key[-1])
        self._prefixes[key] = self._prefixes.pop(key)
        return self._prefixes[key]

    def probabilities(
        self, prefix: Any, rows: Sequence[Row], values: Sequence[int]
    ) -> list[Float[Tensor, "slot value"]]:
        """Return, for each row, the probability of each value token right after each of the row's slots.

        `prefix` is a cache that every row goes on from; `values` are token ids. What shares a batch with a
        row changes its numbers only by rounding. Raises LLMError when a row goes beyond what the model can
        read, or a question beyond what its layers see, or the model's numbers overflow.
        """
        for row in rows:
            self._check_length(cached_length(prefix) + max(row.positions()) + 1, asked=bool(row.questions))
        return row_probabilities(self._model, prefix, rows, values, places=self._batch_places)

    def check_questions(self, tokens: Sequence[int]) -> None:
        """Raise CapabilityError unless questions apart from each other can be read in one row.

        `tokens` are eight or more ids for a sample.
        """
        check_questions(self._model, tokens, self.identity)

    def _last_logits(self, tokens: Sequence[int], cache: Any) -> Float[Tensor, " token"]:
        ids = torch.tensor([list(tokens)], device=self._model.device)
        output = self._model(
            input_ids=ids, past_key_values=cache, use_cache=cache is not None, logits_to_keep=1
        )
        return output.logits[0, -1].float().cpu()

    def _extended(self, cache: Any, tokens: Sequence[int]) -> Any:
        """Run more tokens into a cache (None: a fresh one) and return it."""
        ids = torch.tensor([list(tokens)], device=self._model.device)
        with torch.inference_mode():
            return self._model.base_model(
                input_ids=ids, past_key_values=cache, use_cache=True
            ).past_key_values

    @property
    def _is_merged(self) -> bool:
        """Whether instructions stand at the head of the first question."""
        has_template = self._style == "chat" and getattr(self._tokenizer, "chat_template", None)
        return bool(has_template) and not self._prompts.knows_system

    def _is_enough(self, told: Callable[[str], bool], tokens: list[int]) -> bool:
        return told(self._tokenizer.decode(tokens, skip_special_tokens=True))

    def _ends_an_answer(self, token: int) -> bool:
        """Tell whether a token ends a line (completion) or turn (chat)."""
        return token in self._ends or (
            self._style == "completion" and "\n" in self._tokenizer.decode([token])
        )

    def _check_length(self, length: int, *, asked: bool = False) -> None:
        """Raise LLMError for more tokens in a row than the model has positions, or questions can see."""
        allowed: Any = getattr(self._model.config, "max_position_embeddings", None)
        if isinstance(allowed, int) and length > allowed:
            raise LLMError(
                f"{self.identity}: a prompt with its answer takes {length} tokens, and the model reads"
                f" {allowed}; lower excerpts or excerpt_tokens under the study's explainers.* (for a"
                " simulation corpus.sequence_length), or name another model in [llm]"
            )
        window = look_back(self._model) if asked else None
        if window is not None and length > window:
            raise LLMError(
                f"{self.identity}: some of its layers look back {window} tokens, and a text with a question"
                f' takes {length}; set layout = "hidden" for the simulator, lower corpus.sequence_length, or'
                " name another model in [llm] or [simulator_llm]"
            )

    @property
    def _ends(self) -> set[int]:
        configured: Any = self._model.generation_config.eos_token_id
        ends: set[Any] = {*configured} if isinstance(configured, list) else {configured}
        return {*ends, self._tokenizer.eos_token_id} - {None}


def _never(_: str) -> bool:
    return False


def _drawing(temperature: float, seed: int) -> Draw:
    """Return what draws next tokens: the likeliest at temperature 0, the first of equals."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(logits: Float[Tensor, " token"]) -> int:
        if temperature == 0:
            return int(logits.argmax())
        return int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))

    return drawn
