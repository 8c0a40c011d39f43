"""Reads next-token probabilities at chosen places of many rows, and checks that a model can be read so."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuroscribe.errors import CapabilityError, LLMError
from neuroscribe.llm.local_decoding import cached_length, forked
from neuroscribe.ports.rows import Row

_FILLING = -1


def batches(rows: Sequence[Row], places: int) -> Iterator[Sequence[Row]]:
    """Yield the rows in order, in batches that fill at most `places`; a longer row stands alone.

    What stands together follows from the rows alone, so that the same rows are computed the same way again.
    """
    start, longest = 0, 0
    for index, row in enumerate(rows):
        longest = max(longest, len(row.tokens))
        if index > start and longest * (index + 1 - start) > places:
            yield rows[start:index]
            start, longest = index, len(row.tokens)
    if rows:
        yield rows[start:]


def inputs(rows: Sequence[Row], after: int, *, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Return a batch's arguments for a transformers model whose cache holds a prefix of `after` tokens.

    Rows without questions are left to the model's own causal attention; they need neither mask nor positions.
    """
    longest = max(len(row.tokens) for row in rows)
    # Filled up behind, where causal attention lets nothing that is read see it.
    ids = [_filled(row.tokens, row.tokens[-1], longest) for row in rows]
    given: dict[str, Any] = {"input_ids": torch.tensor(ids, device=device)}
    if any(row.questions for row in rows):
        positions = [_filled(row.positions(), 0, longest) for row in rows]
        # Filling is a stretch of its own, so that no question takes it for its own.
        stretches = [_filled(row.stretches(), _FILLING, longest) for row in rows]
        seen = visible(torch.tensor(stretches, device=device))
        mask = torch.zeros(len(rows), 1, longest, after + longest, dtype=dtype, device=device)
        mask[:, 0, :, after:].masked_fill_(~seen, torch.finfo(dtype).min)
        given["attention_mask"] = mask
        given["position_ids"] = torch.tensor(positions, device=device) + after
    return given


def visible(stretches: Int[Tensor, "row place"]) -> Bool[Tensor, "row place place"]:
    """Return which place of a row sees which: what stands before it in the text or in its own question."""
    seen, seeing = stretches[:, None, :], stretches[:, :, None]
    return ((seen == 0) | (seen == seeing)).tril()


def _filled(values: Sequence[int], filling: int, length: int) -> list[int]:
    return [*values, *[filling] * (length - len(values))]


_LOGITS_AT_ONCE = 2**24
"""Logits held in float32 at one time; 64 MiB."""
_ROUNDING, _NARROW_ROUNDING = 0.02, 0.5
"""How far the logarithms of one probability read in two ways may be apart; the latter in narrow dtypes."""


def row_probabilities(
    model: Any, prefix: Any, rows: Sequence[Row], values: Sequence[int], *, places: int
) -> list[Float[Tensor, "slot value"]]:
    """Return, for each row, the probability of each value token right after each of the row's slots.

    `prefix` is the cache that every row goes on from; `values` are token ids; a batch fills at most
    `places` (a longer row stands alone). What shares a batch with a row changes its numbers only by the
    rounding of the model's dtype. Raises LLMError when the model's numbers overflow.
    """
    with torch.inference_mode():
        read = [_read(model, prefix, batch, values) for batch in batches(rows, places)]
    return [reading for batch in read for reading in batch]


def look_back(model: Any) -> int | None:
    """Return how many places some layers can look back at most, or None where all see everything."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and not {"sliding_attention", "chunked_attention"} & set(kinds):
        return None
    return getattr(config, "sliding_window", None) or getattr(config, "attention_chunk_size", None)


def check_questions(model: Any, tokens: Sequence[int], identity: str) -> None:
    """Read two questions in one masked row and each in a prompt of its own; `tokens` are eight or more ids.

    Raises CapabilityError where the two differ by more than rounding: a model whose attention takes no mask
    or positions of ours, or whose logits are not those of its output embedding.
    """
    head, text, questions = tokens[:3], tokens[3:5], (tokens[5:7], tokens[7:8])
    row = Row([*text, *tokens[5:8]], (3, 4), ((2, 4), (4, 5)))
    values = sorted(set(tokens))
    try:
        with torch.inference_mode():
            given = {"input_ids": torch.tensor([list(head)], device=model.device), "use_cache": True}
            prefix = model.base_model(**given).past_key_values
            alone = [_plain(model, [*head, *text, *question])[values] for question in questions]
        (together,) = row_probabilities(model, prefix, [row], values, places=1)
        apart = float((together.log() - torch.stack(alone)).abs().max())
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CapabilityError(f"{_unreadable(identity)} ({type(error).__name__}: {error})") from error
    # Not `apart >`, which a NaN would pass.
    if not apart <= (_ROUNDING if model.dtype == torch.float32 else _NARROW_ROUNDING):
        raise CapabilityError(f"{_unreadable(identity)} (log-probabilities off by {apart:.3g})")


def scaled_logits(model: Any, logits: Float[Tensor, "slot token"]) -> Float[Tensor, "slot token"]:
    """Return an output embedding's logits in float32 as the model gives them: some families scale or cap."""
    # Cohere multiplies by `logit_scale`, Granite divides by `logits_scaling`, Gemma 2 caps: all of it after
    # the output embedding, in the forward pass that is left out here.
    config = model.config.get_text_config()
    factor = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)
    cap = getattr(config, "final_logit_softcapping", None)
    scaled = logits.float() * factor
    return cap * torch.tanh(scaled / cap) if cap else scaled


def finite(total: Tensor) -> Tensor:
    """Return sums over logits; raises LLMError where they are none, as float16 overflows in some models."""
    if not total.isfinite().all():
        raise LLMError(
            "the local model's logits are not finite; choose another dtype (bfloat16 or float32) in [llm] or"
            " [simulator_llm]"
        )
    return total


def _read(model: Any, prefix: Any, batch: Sequence[Row], values: Sequence[int]) -> list[Tensor]:
    given = inputs(batch, cached_length(prefix), device=model.device, dtype=model.dtype)
    cache = forked(prefix, len(batch))
    # The body alone: the model itself would project every place on the vocabulary, most of them for nothing.
    states = model.base_model(**given, past_key_values=cache, use_cache=cache is not None)
    places = [(index, slot) for index, row in enumerate(batch) for slot in row.slots]
    rows, slots = torch.tensor(places, device=model.device).T
    read = _value_probabilities(model, states.last_hidden_state[rows, slots], values)
    return list(torch.split(read, [len(row.slots) for row in batch]))


def _value_probabilities(
    model: Any, states: Float[Tensor, "slot state"], values: Sequence[int]
) -> Float[Tensor, "slot value"]:
    """Project the places that are read, and no others, on the vocabulary, some at a time."""
    head = model.get_output_embeddings()
    probabilities: list[Tensor] = []
    for part in torch.split(states, max(1, _LOGITS_AT_ONCE // head.weight.shape[0])):
        logits = scaled_logits(model, head(part))
        # A softmax at a few values: exp(logit - log Σ exp(logits)), which overflows nowhere.
        total = finite(logits.logsumexp(-1, keepdim=True))
        probabilities.append((logits[:, list(values)] - total).exp().cpu())
    return torch.cat(probabilities)


def _plain(model: Any, tokens: Sequence[int]) -> Float[Tensor, " token"]:
    """Return log-probabilities after a prompt, as the model gives them without any of the above."""
    ids = torch.tensor([list(tokens)], device=model.device)
    return model(input_ids=ids, use_cache=False).logits[0, -1].float().log_softmax(-1).cpu()


def _unreadable(identity: str) -> str:
    return (
        f"{identity}: its architecture cannot be asked about many tokens in one pass; set layout ="
        ' "hidden" for the simulator, or name another model in [llm] or [simulator_llm]'
    )
