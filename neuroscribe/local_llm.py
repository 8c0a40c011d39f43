"""A causal language model in this process: continues text, and reads digit probabilities at known places.

The beginning that prompts share is run once and kept. What is computed for one call depends on that call
alone, never on the calls before it, so that a run that was killed and continued gives the same answers.
"""

import copy
import json
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuroscribe.errors import LLMError
from neuroscribe.explain.messages import as_text
from neuroscribe.ports import Message, Reply, Schema, Usage

_KEPT_PREFIXES = 4


class LocalLLM:
    """Fulfils the `LLM` port with a Hugging Face model and its tokenizer."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        identity: str,
        style: Literal["completion", "chat"] = "completion",
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._style = style
        self._identity = identity
        self._prefixes: dict[str, Any] = {}

    @property
    def identity(self) -> str:
        """Model, revision, dtype and prompt style."""
        return f"{self._identity} ({self._style})"

    @property
    def calls_at_once(self) -> int:
        """One: replies are computed here, one after the other."""
        return 1

    def encode(self, text: str) -> list[int]:
        """Return token ids of plain text; text that looks like a special token stays text."""
        return self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

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
        del schema
        shared, own = self._prompt(messages)
        with torch.inference_mode():
            cache, length = self.prefix(shared)
            self._check_length(length + len(own) + max_tokens)
            tokens = self._continued(cache, own, max_tokens, temperature, torch.Generator().manual_seed(seed))
        text = self._tokenizer.decode(tokens, skip_special_tokens=True).strip()
        raw = json.dumps({"text": text, "tokens": tokens}, ensure_ascii=False)
        status = "truncated" if len(tokens) == max_tokens else "ok"
        return Reply(text, status, raw, Usage(length + len(own), length, len(tokens)))

    async def check(self) -> None:
        """Raise LLMError when chat is asked of a model that was not made for it."""
        if self._style == "chat" and not getattr(self._tokenizer, "chat_template", None):
            raise LLMError(
                f'{self.identity}: its tokenizer has no chat template; set prompt_style = "completion" in'
                " the study's [llm], or name another model there"
            )

    def prefix(self, text: str) -> tuple[Any, int]:
        """Return a key-value cache of `text` that the caller may extend, and its length in tokens."""
        if text not in self._prefixes:
            while len(self._prefixes) >= _KEPT_PREFIXES:
                self._prefixes.pop(next(iter(self._prefixes)))
            self._prefixes[text] = self.extended(None, self.encode(text))
        cache = self._prefixes[text]
        return copy.deepcopy(cache), (cache.get_seq_length() if cache is not None else 0)

    def extended(self, cache: Any, tokens: Sequence[int]) -> Any:
        """Run more tokens into a cache (None: a fresh one) and return it.

        Raises LLMError when that is longer than the model can read.
        """
        if not tokens:
            return cache
        self._check_length((cache.get_seq_length() if cache is not None else 0) + len(tokens))
        ids = torch.tensor([list(tokens)], device=self._model.device)
        with torch.inference_mode():
            return self._model.base_model(
                input_ids=ids, past_key_values=cache, use_cache=True
            ).past_key_values

    def probabilities(
        self,
        cache: Any,
        tokens: Sequence[int],
        positions: Int[Tensor, " place"],
        visible: Bool[Tensor, "place place"],
        slots: Sequence[int],
        values: Sequence[int],
    ) -> Float[Tensor, "slot value"]:
        """Return the probability of each value token right after each slot of a row with its own mask.

        `cache` holds the prefix, which every place sees and which is left unchanged; `positions` count from
        the prefix's end; `visible` says which place of the row sees which; `values` are token ids. Raises
        LLMError when a position lies beyond what the model can read.
        """
        own = copy.deepcopy(cache)
        length = own.get_seq_length()
        self._check_length(length + int(positions.max()) + 1)
        dtype = self._model.dtype
        mask = torch.zeros(len(tokens), length + len(tokens), dtype=dtype)
        mask[:, length:].masked_fill_(~visible, torch.finfo(dtype).min)
        with torch.inference_mode():
            hidden = self._model.base_model(
                input_ids=torch.tensor([list(tokens)], device=self._model.device),
                position_ids=(positions + length)[None].to(self._model.device),
                attention_mask=mask[None, None].to(self._model.device),
                past_key_values=own,
                use_cache=True,
            ).last_hidden_state[0, list(slots)]
            logits = self._model.get_output_embeddings()(hidden)
            return logits.float().softmax(-1)[:, list(values)].cpu()

    def _prompt(self, messages: Sequence[Message]) -> tuple[str, list[int]]:
        """Return the part that all prompts of a stage share, as text, and this prompt's own tokens."""
        if self._style == "chat":
            turns = [{"role": m.role, "content": m.content} for m in messages]
            ends_open = messages[-1].role == "assistant"
            text = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=not ends_open, continue_final_message=ends_open
            )
            return "", self._tokenizer.encode(text, add_special_tokens=False)
        last_question = max(index for index, m in enumerate(messages) if m.role == "user")
        shared = as_text(messages[:last_question])
        return shared, self.encode(as_text(messages).removeprefix(shared))

    def _continued(
        self,
        cache: Any,
        tokens: Sequence[int],
        max_tokens: int,
        temperature: float,
        generator: torch.Generator,
    ) -> list[int]:
        """Return the tokens that follow, up to the end of the line (completion) or turn (chat)."""
        made: list[int] = []
        step = list(tokens)
        for _ in range(max_tokens):
            ids = torch.tensor([step], device=self._model.device)
            output = self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            token = _drawn(output.logits[0, -1].float().cpu(), temperature, generator)
            if token in self._ends or (
                self._style == "completion" and "\n" in self._tokenizer.decode([token])
            ):
                break
            made.append(token)
            step = [token]
        return made

    def _check_length(self, found: int) -> None:
        """Raise LLMError for more tokens in a row than the model has positions."""
        allowed: Any = getattr(self._model.config, "max_position_embeddings", None)
        if isinstance(allowed, int) and found > allowed:
            raise LLMError(
                f"{self.identity}: a prompt with its answer takes {found} tokens, and the model reads"
                f" {allowed}; lower excerpts or excerpt_tokens under the study's explainers.* (for a"
                " simulation corpus.sequence_length), or name another model in [llm]"
            )

    @property
    def _ends(self) -> set[int]:
        configured: Any = self._model.generation_config.eos_token_id
        ends: set[Any] = {*configured} if isinstance(configured, list) else {configured}
        return {*ends, self._tokenizer.eos_token_id} - {None}


def _drawn(logits: Float[Tensor, " token"], temperature: float, generator: torch.Generator) -> int:
    """Draw the next token: the likeliest at temperature 0, the first of equals."""
    if temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))
