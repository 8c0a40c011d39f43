"""What a study will ask of language models, before it does: calls, tokens and money per layer.

Where a layer's records are there, its prompts are those that will be sent. Everything is rather too much than
too little: every explanation is taken to be readable and unlike the others, every answer to be as long as it
may be, and no prompt to be cheaper for having been in a cache.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from posixpath import commonprefix
from typing import Any

import polars as pl

from neuroscribe.aligned import NOTHING, Format, aligned, counted, dollars, worded
from neuroscribe.corpus import token_bytes_by_sequence
from neuroscribe.explain.evidence import LayerEvidence
from neuroscribe.explain.explainers import reply_key
from neuroscribe.explain.messages import as_text
from neuroscribe.explain.questions import questions
from neuroscribe.explain.specs import Asking, AskingSpec, TokenList
from neuroscribe.explain.stage import LayerTables, evidence
from neuroscribe.likely import TEXT, TOKEN, likely_explanations, likely_question
from neuroscribe.ports import CallStore, Usage
from neuroscribe.sampling import sampled_neurons, set_aside
from neuroscribe.simulate.requests import Request, requests
from neuroscribe.simulate.specs import SimulatorSpec
from neuroscribe.simulate.stage import reading_key, scored_splits, simulation_tasks
from neuroscribe.studies import Study

CHARACTERS_PER_TOKEN = 3.5
"""Rather few, so that tokens are rather too many: English prose has 4 or more, lists of tokens fewer."""
_LOOKED_AT = 32
"""Prompts of a kind from whose lengths those of the others are told."""
_SCHEMA = {
    "layer": pl.Int16(), "stage": pl.String(), "name": pl.String(), "neurons": pl.Int64(),
    "set_aside": pl.Int64(), "calls": pl.Int64(), "answered": pl.Int64(), "prompt_tokens": pl.Int64(),
    "completion_tokens": pl.Int64(), "shared": pl.Float64(), "cost_usd": pl.Float64(),
    "known_from": pl.String(),
}  # fmt: skip
"""Columns of a plan. `set_aside` are dead and near-dead neurons, null where not known yet; `calls` are still
to be made, `answered` are in the store; `shared` is the part of the prompts that is a beginning which those
before them had, too, and which a server with a prefix cache reads once; money is null without a price."""


@dataclass(frozen=True)
class Found:
    """What is there of a layer, as the study stands."""

    statistics: pl.DataFrame | None = None
    tables: LayerTables | None = None
    explanations: pl.DataFrame | None = None


@dataclass(frozen=True)
class Asked:
    """A model as far as a plan needs it."""

    cost: Callable[[Usage], float | None]
    """Dollars for some tokens; None without a price."""
    identity: str | None = None
    """For explanations; None where it is not known, and no answer is looked for in the store."""
    simulators: Mapping[str, str] | None = None
    """Identities of simulators, likewise."""


def layer_plan(
    study: Study,
    layer: int,
    found: Found,
    *,
    explaining: Asked,
    simulating: Asked,
    calls: CallStore | None = None,
    tokens_in: Callable[[str], float] = lambda text: len(text) / CHARACTERS_PER_TOKEN,
) -> pl.DataFrame:
    """Return one row per explainer and simulator: what it will ask about a layer; see `_SCHEMA`."""
    view = _View(study, layer, found, calls, tokens_in)
    rows = [
        view.row("explanation", name, explaining, view.explaining(spec, explaining))
        for name, spec in study.explainers.items()
    ]
    rows += [
        view.row("simulation", name, simulating, view.simulating(name, spec, simulating))
        for name, spec in study.simulators.items()
    ]
    return pl.DataFrame(rows, schema=_SCHEMA)


def plan_text(plan: pl.DataFrame, width: int) -> str:
    """Return plans of layers as a table with a total, in lines of at most `width` characters."""
    sums = [pl.col(name).sum() for name in ("calls", "answered", "prompt_tokens", "completion_tokens")]
    cost = pl.col("cost_usd")
    total = plan.select(*sums, cost_usd=pl.when(cost.null_count() == 0).then(cost.sum()))
    rows = pl.concat([plan, total], how="diagonal")
    return "\n".join([*aligned(rows, _COLUMNS, width, left=("name", "known from")), "", *_LEGEND]) + "\n"


@dataclass(frozen=True)
class _Calls:
    """The calls of one explainer or simulator."""

    open: int
    answered: int
    sample: Sequence[Request]
    """Some of those that are open."""
    known_from: str


@dataclass(frozen=True)
class _View:
    """One layer, as far as it is known."""

    study: Study
    layer: int
    found: Found
    calls: CallStore | None
    tokens_in: Callable[[str], float]

    def row(self, stage: str, name: str, model: Asked, asked: _Calls) -> dict[str, Any]:
        """Return one row of the plan."""
        texts = [text for text, _ in asked.sample]
        usage = Usage(
            prompt_tokens=_scaled(map(self.tokens_in, texts), asked.open, len(texts)),
            completion_tokens=_scaled((most for _, most in asked.sample), asked.open, len(texts)),
        )
        statistics = self.found.statistics
        aside = None if statistics is None else set_aside(self.study, self.layer, statistics)
        return {
            "layer": self.layer,
            "stage": stage,
            "name": name,
            "neurons": self._neurons,
            "set_aside": None if aside is None else aside.filter(pl.col("reason") != "silent").height,
            "calls": asked.open,
            "answered": asked.answered,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "shared": _shared(texts, asked.open),
            "cost_usd": model.cost(usage) if asked.open else 0.0,
            "known_from": asked.known_from,
        }

    def explaining(self, spec: AskingSpec | TokenList, model: Asked) -> _Calls:
        """Return an explainer's calls."""
        if isinstance(spec, TokenList):
            return _Calls(0, 0, (), "no LLM")
        if self._evidence is None:
            likely = (as_text(likely_question(self.study, spec).messages), spec.answer_tokens)
            known_from = "study" if self.found.statistics is None else "statistics"
            return _Calls(spec.calls(self._neurons), 0, [likely], known_from)
        every = [question for question in questions(self._evidence, spec) if question.messages]
        keys = {reply_key(model.identity or "", question, spec): question for question in every}
        left = [question for key, question in keys.items() if not self._is_answered(key, model.identity)]
        sample = [(as_text(question.messages), spec.answer_tokens) for question in _some(left)]
        return _Calls(len(left), len(keys) - len(left), sample, "records")

    def simulating(self, name: str, spec: SimulatorSpec, model: Asked) -> _Calls:
        """Return a simulator's calls."""
        length = self.study.corpus.sequence_length
        if not spec.calls(1, length):
            return _Calls(0, 0, (), "no LLM")
        tables = self.found.tables
        if tables is None:
            sequences = sum(self._sequences(explainer) for explainer in spec.explainers)
            known_from = "study" if self.found.statistics is None else "statistics"
            likely = requests(spec, TEXT, [TOKEN] * length)
            return _Calls(spec.calls(sequences, length), 0, likely, known_from)
        tasks = simulation_tasks(self.study, self._explanations, tables.records, spec.explainers)
        read = dict.fromkeys((task.text, sequence) for task in tasks for sequence in task.sequence_ids)
        tokens = token_bytes_by_sequence(tables.sequences, tables.vocabulary, {one for _, one in read})
        identity = (model.simulators or {}).get(name)
        left = [
            (text, tokens[sequence])
            for text, sequence in read
            if not self._is_answered(reading_key(identity or "", text, [tokens[sequence]]), identity)
        ]
        sample = [request for text, own in _some(left) for request in requests(spec, text, own)]
        known_from = "records" if self.found.explanations is None else "explanations"
        return _Calls(
            spec.calls(len(left), length), spec.calls(len(read) - len(left), length), sample, known_from
        )

    @property
    def _neurons(self) -> int:
        """Neurons to explain, each side by itself."""
        if self.found.statistics is not None:
            return len(sampled_neurons(self.study, self.layer, self.found.statistics))
        wanted = self.study.sample.neurons_per_layer
        neurons = self.study.subject.neurons_per_layer if wanted == "all" else wanted
        return neurons * (2 if self.study.sample.polarity == "both" else 1)

    @property
    def _evidence(self) -> LayerEvidence | None:
        tables = self.found.tables
        return None if tables is None else evidence(self.study, self.layer, tables)

    @property
    def _explanations(self) -> pl.DataFrame:
        """The explanations that are there, or such as are likely."""
        if self.found.explanations is not None:
            return self.found.explanations
        shown = self._evidence
        assert shown is not None, "asked for where there are records"
        own = self.study.explainers.items()
        return pl.concat(likely_explanations(shown, name, spec) for name, spec in own)

    def _sequences(self, explainer: str) -> int:
        """Return the most readings that an explainer's texts take: on their own neurons and on controls."""
        spec = self.study.explainers[explainer]
        candidates = spec.candidates if isinstance(spec, Asking) else 1
        own = candidates * len(scored_splits(self.study, explainer))
        return self._neurons * (own + 1) * 2 * self.study.scoring.sequences_per_split

    def _is_answered(self, key: str, identity: str | None) -> bool:
        return identity is not None and self.calls is not None and self.calls.get(key) is not None


def _some(items: Sequence[Any]) -> Iterator[Any]:
    """Yield a few items at even distances."""
    count = min(_LOOKED_AT, len(items))
    return (items[place * len(items) // count] for place in range(count))


def _scaled(amounts: Iterable[float], number: int, looked_at: int) -> int:
    return round(sum(amounts) * number / looked_at) if looked_at else 0


def _shared(texts: Sequence[str], number: int) -> float | None:
    """Return the part of all prompts that is the beginning they have in common, but for the first of them."""
    if len(texts) < 2:
        return None
    # What the first and the last in order have in common, all have.
    alike = len(commonprefix([min(texts), max(texts)]))
    return alike * len(texts) / sum(map(len, texts)) * (number - 1) / number


def _percent(row: Mapping[str, Any]) -> str:
    return NOTHING if row["shared"] is None else f"{100 * row['shared']:.0f} %"


_COLUMNS: Mapping[str, Format] = {
    "layer": lambda row: "all" if row["layer"] is None else str(row["layer"]),
    "name": worded("name"),
    "neurons": counted("neurons"),
    "set aside": counted("set_aside"),
    "calls": counted("calls"),
    "answered": counted("answered"),
    "prompt tokens": counted("prompt_tokens"),
    "shared": _percent,
    "answer tokens": counted("completion_tokens"),
    "money": dollars("cost_usd"),
    "known from": worded("known_from"),
}
_LEGEND = (
    "Calls: still to be made; answered: in the store. Tokens and money: at most, from lengths of prompts.",
    "Shared: what prompts begin with in common, which many servers read once and some charge less for.",
    f"Known from: what a layer's numbers rest on; `study`: nothing is captured yet. {NOTHING}: unknown.",
)
