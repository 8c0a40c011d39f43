"""True activations of chosen neurons at every token of the default study's corpus, to hold estimates to.

Neurons come in two kinds: `ordinary`, a seeded draw among those that fire in at least one of a hundred
sequences, and `sparse`, those of them that fire in the fewest. Each is read on its stronger side, the other
side as 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dagster_project.environments import Environment
from neuroscribe.kinds import read_studies
from neuroscribe.study.files import chosen_study
from neuroscribe.study.spec import Study
from neuroscribe.subject.hooks import forward, reading
from neuroscribe.subject.subject import Subject
from neuroscribe.text.corpus import token_matrix, tokenised
from resources.models.subject import SubjectModels
from resources.texts import Texts

STUDY = "embedded"
TOP_K = 20
FIRES_AT = 0.35
"""Share of the smallest peak of the top list from which a neuron counts as firing."""
LEAST_SHARE = 0.01
"""Of sequences in which a neuron has to fire."""


@dataclass(frozen=True)
class TrueNeuron:
    """What one neuron does on the whole corpus, on its stronger side."""

    layer: int
    neuron: int
    values: Float[np.ndarray, "sequence token"]

    @property
    def peaks(self) -> Float[np.ndarray, " sequence"]:
        """The largest activation in each sequence."""
        return self.values.max(axis=1)

    @property
    def threshold(self) -> float:
        """The activation from which the neuron counts as firing."""
        return FIRES_AT * float(np.sort(self.peaks)[-TOP_K])


@dataclass(frozen=True)
class Text:
    """The corpus: its tokens, and the document of each sequence."""

    sequences: pl.DataFrame
    tokens: Int[np.ndarray, "sequence token"]
    vocabulary: pl.DataFrame


def default_study() -> tuple[Study, Environment]:
    """Return the study that is measured, and where its models and text lie."""
    environment = Environment.read()
    return chosen_study(read_studies(environment.studies), STUDY), environment


def default_text(study: Study, environment: Environment) -> Text:
    """Return the study's corpus."""
    subjects = SubjectModels(cache_dir=environment.cache)
    source = Texts(cache_dir=environment.cache).open(study.corpus)
    made = tokenised(source.documents(), subjects.tokenizer(study.subject), study.corpus)
    return Text(made.sequences, token_matrix(made.sequences), made.vocabulary)


def opened_subject(study: Study, environment: Environment, *, randomised: bool = False) -> Subject:
    """Return the study's subject, or its random-weights twin."""
    spec = study.subject.model_copy(update={"randomised": randomised})
    return SubjectModels(cache_dir=environment.cache).open(spec)


def whole_layers(
    subject: Subject, tokens: Int[np.ndarray, "sequence token"], layers: Sequence[int]
) -> dict[int, Float[Tensor, "sequence token neuron"]]:
    """Return every activation of the layers, in the subject's dtype."""
    sites = subject.sites(layers)
    kept: dict[int, list[Tensor]] = {layer: [] for layer in sites}
    length = tokens.shape[1]

    def keep(layer: int, read: Float[Tensor, "sequence position neuron"]) -> None:
        activations = read.reshape(-1, len(subject.prefix_ids) + length, read.shape[-1])
        kept[layer].append(activations[:, -length:].clone())

    prefix = torch.tensor(subject.prefix_ids, dtype=torch.int64)
    with reading(sites, keep, stop=True):
        for batch in torch.from_numpy(tokens).split(subject.batch(length)):
            forward(subject.model, torch.cat([prefix.expand(len(batch), -1), batch], dim=1))
    return {layer: torch.cat(parts) for layer, parts in kept.items()}


def true_neurons(
    whole: Mapping[int, Float[Tensor, "sequence token neuron"]], *, each: int, seed: int
) -> dict[str, list[TrueNeuron]]:
    """Return `each` ordinary and `each` sparse neurons, layers in equal parts."""
    kinds: dict[str, list[TrueNeuron]] = {"ordinary": [], "sparse": []}
    generator = np.random.default_rng(seed)
    for layer, values in whole.items():
        share = each // len(whole)
        firing = _shares(values)
        alive = np.flatnonzero(firing >= LEAST_SHARE)
        sparse = alive[np.argsort(firing[alive], kind="stable")][:share]
        rest = np.setdiff1d(alive, sparse)
        ordinary = np.sort(generator.choice(rest, min(share, len(rest)), replace=False))
        for kind, chosen in (("ordinary", ordinary), ("sparse", sparse)):
            kinds[kind] += [TrueNeuron(layer, int(n), _stronger(values[:, :, n])) for n in chosen]
    return kinds


def _stronger(values: Float[Tensor, "sequence token"]) -> Float[np.ndarray, "sequence token"]:
    side = 1 if values.max() >= -values.min() else -1
    return (side * values.float()).clamp(min=0).numpy().astype(np.float64)


def _shares(values: Float[Tensor, "sequence token neuron"]) -> Float[np.ndarray, " neuron"]:
    """Return the share of sequences in which each neuron fires on its stronger side."""
    high, low = values.amax(1).float(), -values.amin(1).float()
    peaks = torch.where(high.amax(0) >= low.amax(0), high, low).clamp(min=0)
    threshold = FIRES_AT * peaks.topk(TOP_K, dim=0).values[-1]
    return ((peaks >= threshold) & (threshold > 0)).float().mean(0).numpy()
