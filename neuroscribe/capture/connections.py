"""What each neuron reads and writes by weight alone: the tokens and neurons with the largest strengths.

Strengths are first-order: attention, biases and the centring and scale of norms are left out, so they say
what a neuron would do along the residual stream, not what it does on a text.

With the gains g of norms as diagonal matrices, E the embedding (times the model's own embedding scale), U the
unembedding, and for the neuron n of layer l the weights in(l, n) and out(l, n), the strengths are

- input_token:       E[token] . g_mlp(l) . in(l, n)
- output_token:      out(l, n) . g_final . U[token]                 (the logit lens)
- upstream_neuron:   out(k, m) . g_mlp(l) . in(l, n)   for the neurons m of earlier layers k < l
- downstream_neuron: out(l, n) . g_mlp(k) . in(k, m)   for the neurons m of later layers k > l

as in the README that came with the data of Bills et al. 2023. For gated MLPs `in` is the gate's weight: it
decides whether a neuron fires at all, while the other factor gives the activation its size and sign. Where a
norm or a factor stands between the MLP and the residual stream (Gemma 2, OLMo 2, Granite), `out` includes it.
Factors and caps of the LM head (Cohere, Granite, Gemma 2) are left out: they keep the order of the tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neuroscribe.errors import SubjectError
from neuroscribe.ports.stores import Progress
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.subject.units.unit import UnitKind
from neuroscribe.tables.records import CONNECTIONS

BLOCK = 2**23
"""Strengths held at a time (32 MiB); changes speed alone."""
Partners = Iterable[tuple[int, Float[Tensor, "partner width"]]]
"""What neurons may be connected with: the id of the first, and their vectors; ids ascend."""
Strongest = tuple[Float[Tensor, "neuron _place"], Int[Tensor, "neuron _place"]]
"""Sizes of the strongest connections, best first, and ids of the partners."""


@torch.no_grad()
def layer_connections(
    model: nn.Module,
    layer: int,
    *,
    tokens: int = 10,
    neurons: int = 5,
    vocabulary: int | None = None,
    block: int = BLOCK,
    units: UnitKind = MLP_NEURONS,
) -> pl.DataFrame:
    """Return the table `connections` of one layer: per neuron, direction and sign the strongest, best first.

    At most `tokens` tokens and `neurons` neurons (both at least 1) each; a partner appears only under the
    sign its strength has, and not at all with strength 0. Equal strengths are ordered by token id, or by
    layer and neuron. Rows of the embedding from `vocabulary` on, which no token uses, are left out. Raises
    SubjectError for models whose weights are not known (see `SubjectWeights`) or not finite, and for units
    that have none.
    """
    if (weights := units.weights(model)) is None:
        raise SubjectError(
            f"units of a {units.carrier} have no weights of their own, so there are no connections"
        )
    reads, writes = weights.reads(layer), weights.writes(layer)
    span = max(weights.neurons(other) for other in weights.layers)
    upstream = ((other * span, weights.writes(other)) for other in weights.layers if other < layer)
    downstream = ((other * span, weights.reads(other)) for other in weights.layers if other > layer)
    embedding = (0, weights.embedding()[:vocabulary])
    unembedding = (0, weights.unembedding()[:vocabulary])
    searches: list[tuple[str, Tensor, Partners, int]] = [
        ("input_token", reads * weights.embedding_scale(), [embedding], tokens),
        ("output_token", writes * weights.final_norm_gain(), [unembedding], tokens),
        ("upstream_neuron", reads, upstream, neurons),
        ("downstream_neuron", writes, downstream, neurons),
    ]
    frames = [
        _rows(layer, direction, sign, strongest, span=span)
        for direction, vectors, partners, count in searches
        for sign, strongest in _strongest(vectors, partners, count, block=block).items()
    ]
    return CONNECTIONS.checked(pl.concat(frames).sort("neuron", maintain_order=True))


def _strongest(
    vectors: Float[Tensor, "neuron width"], partners: Partners, count: int, *, block: int
) -> dict[int, Strongest]:
    """Return the strongest partners of every neuron under each sign, holding one block of strengths."""
    none = vectors.new_zeros(len(vectors), 0)
    best: dict[int, Strongest] = {sign: (none, none.long()) for sign in (1, -1)}
    for first, strengths in _blocks(vectors, partners, block):
        for sign in best:
            sizes, places = _top(strengths, sign, count)
            best[sign] = _merged(best[sign], (sizes, places + first), count)
    return best


def _blocks(
    vectors: Float[Tensor, "neuron width"], partners: Partners, block: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the strengths of all neurons with block after block of partners, and each block's first id."""
    step = max(1, block // len(vectors))
    for first, others in partners:
        for start in range(0, len(others), step):
            yield first + start, vectors @ others[start : start + step].float().T


def _top(strengths: Float[Tensor, "neuron partner"], sign: int, count: int) -> Strongest:
    """Return the largest sizes of one sign and their places, unordered; of equal ones the first places."""
    partners = strengths.shape[1]
    ends, places = strengths.topk(min(count + 1, partners), largest=sign > 0)
    if not ends.isfinite().all():
        raise SubjectError("the subject's weights hold NaN or infinite values; load an intact checkpoint")
    sizes = sign * ends
    if partners > count:
        tied = (sizes[:, count - 1] == sizes[:, count]) & (sizes[:, count] > 0)
        if tied.any():  # topk keeps any of several equal strengths
            ordered = (sign * strengths[tied]).sort(dim=1, descending=True, stable=True)
            sizes[tied], places[tied] = (part[:, : count + 1] for part in ordered)
    return sizes[:, :count], places[:, :count]


def _merged(best: Strongest, others: Strongest, count: int) -> Strongest:
    """Return the best of both, by size and then by id."""
    sizes, ids = (torch.cat(parts, dim=1) for parts in zip(best, others, strict=True))
    ids, order = ids.sort(dim=1)
    sizes, by_size = sizes.gather(1, order).sort(dim=1, descending=True, stable=True)
    return sizes[:, :count], ids.gather(1, by_size)[:, :count]


def _rows(layer: int, direction: str, sign: int, strongest: Strongest, *, span: int) -> pl.DataFrame:
    """Return the table's rows for one direction and sign; partners are tokens, or neurons `span` a layer."""
    sizes, ids = (part.cpu().numpy() for part in strongest)
    neuron, rank = (sizes > 0).nonzero()
    partner = ids[neuron, rank]
    is_token = direction.endswith("token")
    columns = {
        "layer": layer,
        "neuron": neuron,
        "direction": direction,
        "sign": sign,
        "rank": rank,
        "token_id": partner if is_token else None,
        "other_layer": None if is_token else partner // span,
        "other_neuron": None if is_token else partner % span,
        "strength": sign * sizes[neuron, rank],
    }
    return pl.DataFrame(columns).cast(CONNECTIONS.schema)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Connected:
    """Connections of several layers, or why there are none."""

    frames: dict[int, pl.DataFrame]
    refused: str | None
    """For units without weights and architectures whose formula is not known; the frames are then empty."""


def connections_of(subject: Subject, *, layers: Sequence[int], progress: Progress) -> Connected:
    """Return the connections of each layer; empty tables with the reason where the formula is not known."""
    vocabulary = len(subject.tokenizer.token_bytes)
    frames: dict[int, pl.DataFrame] = {}
    with progress.task(f"connections {subject.name}", total=len(layers), unit="layers") as advance:
        for layer in layers:
            try:
                frames[layer] = layer_connections(
                    subject.model, layer, vocabulary=vocabulary, units=subject.units
                )
            except SubjectError as error:
                return Connected({each: CONNECTIONS.frame([]) for each in layers}, str(error))
            advance(1)
    return Connected(frames, None)
