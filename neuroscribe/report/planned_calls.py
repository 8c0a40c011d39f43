"""The calls that one layer will take, by its records, by its statistics or by the study: what there is."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import takewhile
from typing import Any, TypeVar

import polars as pl

from neuroscribe.evidence.sample import sampled_neurons, set_aside
from neuroscribe.evidence.tasks import scored_splits, simulated_splits, simulation_tasks
from neuroscribe.explain.evidence import LayerEvidence
from neuroscribe.explain.explainers import questions, reply_key
from neuroscribe.explain.stage import LayerTables, evidence
from neuroscribe.judge.judges import MAX_TOKENS, judgement_key
from neuroscribe.judge.prompts import judging_messages
from neuroscribe.judge.stage import Evidence, JudgedTables, Question, layout_of
from neuroscribe.ports.replies import Message, Usage, as_text
from neuroscribe.ports.stores import CallStore
from neuroscribe.report.likely import TEXT, TOKEN, likely_explanations, likely_question
from neuroscribe.simulate.simulators import Request, requests
from neuroscribe.simulate.stage import reading_key
from neuroscribe.study.explainers import Asking, AskingSpec, TokenList
from neuroscribe.study.prompts import JudgingLayout as Layout
from neuroscribe.study.scorers import Judging
from neuroscribe.study.simulators import SimulatorSpec
from neuroscribe.study.spec import Study
from neuroscribe.text.corpus import token_bytes_by_sequence

Item = TypeVar("Item")
_LOOKED_AT = 32
"""Prompts of a kind from whose lengths those of the others are told."""
_EXCERPTS = 2
"""Excerpts that a judge is shown per top sequence of a split: a firing one and a silent one."""


@dataclass(frozen=True)
class Found:
    """What is there of a layer, as the study stands."""

    statistics: pl.DataFrame | None = None
    tables: LayerTables | None = None
    explanations: pl.DataFrame | None = None
    current: frozenset[str] = frozenset()
    """Stages whose tables belong to the study as it stands: a run asks nothing more for them."""


@dataclass(frozen=True)
class Asked:
    """A model as far as a plan needs it."""

    cost: Callable[[Usage], float | None]
    """Dollars for some tokens; None without a price."""
    identity: str | None = None
    """For explanations; None where it is not known, and no answer is looked for in the store."""
    simulators: Mapping[str, str] | None = None
    """Identities of simulators, likewise."""
    judges: Mapping[str, Sequence[str]] | None = None
    """Identities that judges may have, likewise: which, depends on what the model turns out to give."""


@dataclass(frozen=True)
class PlannedCalls:
    """The calls of one explainer or simulator."""

    open: int
    answered: int
    sample: Sequence[Request]
    """Some of those that are open."""
    known_from: str


@dataclass(frozen=True)
class LayerView:
    """One layer, as far as it is known."""

    study: Study
    layer: int
    found: Found
    calls: CallStore | None
    tokens_in: Callable[[str], int]

    def row(self, stage: str, name: str, model: Asked, asked: PlannedCalls) -> dict[str, Any]:
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

    def explaining(self, spec: AskingSpec | TokenList, model: Asked) -> PlannedCalls:
        """Return an explainer's calls."""
        if isinstance(spec, TokenList):
            return PlannedCalls(0, 0, (), "no LLM")
        if self._evidence is None:
            likely = (as_text(likely_question(self.study, spec).messages), spec.answer_tokens)
            return PlannedCalls(spec.calls(self._neurons), 0, [likely], self._guessed_from)
        every = [question for question in questions(self._evidence, spec) if question.messages]
        keys = {reply_key(model.identity or "", question, spec): question for question in every}
        open_ones = [one for key, one in keys.items() if not self._is_answered(key, model.identity)]
        left = self._left("explanations", open_ones)
        sample = [(as_text(question.messages), spec.answer_tokens) for question in _some(left)]
        return PlannedCalls(len(left), len(keys) - len(left), sample, "records")

    def simulating(self, name: str, spec: SimulatorSpec, model: Asked) -> PlannedCalls:
        """Return a simulator's calls."""
        length = self.study.corpus.sequence_length
        if not spec.calls(1, length):
            return PlannedCalls(0, 0, (), "no LLM")
        tables = self.found.tables
        if tables is None:
            held = (self._held(one, simulated_splits(self.study, one, name)) for one in spec.explainers)
            sequences = sum(held) * 2 * self.study.scoring.sequences_per_split
            likely = requests(spec, TEXT, [TOKEN] * length)
            return PlannedCalls(spec.calls(sequences, length), 0, likely, self._guessed_from)
        tasks = simulation_tasks(self.study, self._explanations, tables.records, name)
        read = dict.fromkeys((task.text, sequence) for task in tasks for sequence in task.sequence_ids)
        tokens = token_bytes_by_sequence(tables.sequences, tables.vocabulary, {one for _, one in read})
        identity = (model.simulators or {}).get(name)
        left = self._left(
            "simulations",
            [
                (text, tokens[sequence])
                for text, sequence in read
                if not self._is_answered(reading_key(identity or "", text, [tokens[sequence]]), identity)
            ],
        )
        sample = [request for text, own in _some(left) for request in requests(spec, text, own)]
        done = spec.calls(len(read) - len(left), length)
        return PlannedCalls(spec.calls(len(left), length), done, sample, self._read_from)

    def judging(self, name: str, spec: Judging, model: Asked) -> PlannedCalls:
        """Return a scorer's calls; silent excerpts that an encoder chooses are other ones than here."""
        if not spec.calls(1):
            return PlannedCalls(0, 0, (), "no LLM")
        tables, layout = self.found.tables, layout_of(spec)
        if tables is None:
            held = (self._held(one, scored_splits(self.study, one)) for one in spec.explainers)
            excerpts = sum(held) * _EXCERPTS * self.study.scoring.sequences_per_split
            likely = as_text(judging_messages(layout, TEXT, [TOKEN] * spec.excerpt_tokens))
            return PlannedCalls(spec.calls(excerpts), 0, [(likely, MAX_TOKENS)], self._guessed_from)
        shown = JudgedTables(tables.sequences, tables.vocabulary, tables.records, self._explanations)
        asked = Evidence(self.study, name, spec, shown, None)
        prompts = {as_text(own): own for own in map(partial(_prompt, layout, asked), asked.questions())}
        judges = (model.judges or {}).get(name, ())
        left = self._left(
            "judgements",
            [
                (text, MAX_TOKENS)
                for text, own in prompts.items()
                if not any(self._is_answered(judgement_key(judge, own), judge) for judge in judges)
            ],
        )
        done = spec.calls(len(prompts) - len(left))
        return PlannedCalls(spec.calls(len(left)), done, list(_some(left)), self._read_from)

    @property
    def _guessed_from(self) -> str:
        return "study" if self.found.statistics is None else "statistics"

    @property
    def _read_from(self) -> str:
        return "records" if self.found.explanations is None else "explanations"

    @cached_property
    def _neurons(self) -> int:
        """Neurons to explain, each side by itself."""
        if self.found.statistics is not None:
            return len(sampled_neurons(self.study, self.layer, self.found.statistics))
        wanted = self.study.sample.neurons_per_layer
        neurons = self.study.subject.neurons_per_layer if wanted == "all" else wanted
        return neurons * (2 if self.study.sample.polarity == "both" else 1)

    @cached_property
    def _evidence(self) -> LayerEvidence | None:
        tables = self.found.tables
        return None if tables is None else evidence(self.study, self.layer, tables)

    @cached_property
    def _explanations(self) -> pl.DataFrame:
        """The explanations that are there, or such as are likely."""
        if self.found.explanations is not None:
            return self.found.explanations
        shown = self._evidence
        assert shown is not None, "asked for where there are records"
        own = self.study.explainers.items()
        return pl.concat(likely_explanations(shown, name, spec) for name, spec in own)

    def _held(self, explainer: str, splits: Sequence[str]) -> int:
        """Return how often an explainer's texts are held against a neuron's split: own ones and a control."""
        spec = self.study.explainers[explainer]
        candidates = spec.candidates if isinstance(spec, Asking) else 1
        return self._neurons * (candidates * len(splits) + 1)

    def _left(self, stage: str, unanswered: list[Item]) -> list[Item]:
        """Return what a run still asks: nothing, where a stage's tables are there and current."""
        return [] if stage in self.found.current else unanswered

    def _is_answered(self, key: str, identity: str | None) -> bool:
        return identity is not None and self.calls is not None and self.calls.get(key) is not None


def _prompt(layout: Layout, evidence: Evidence, question: Question) -> list[Message]:
    shown = question.excerpt
    own = evidence.tokens[shown.sequence_id][shown.start : shown.stop]
    return judging_messages(layout, question.text, own, [place - shown.start for place in shown.marked])


def _some(items: Sequence[Any]) -> Iterator[Any]:
    """Yield a few items at even distances."""
    count = min(_LOOKED_AT, len(items))
    return (items[place * len(items) // count] for place in range(count))


def _scaled(amounts: Iterable[int], number: int, looked_at: int) -> int:
    return round(sum(amounts) * number / looked_at) if looked_at else 0


def _shared(texts: Sequence[str], number: int) -> float | None:
    """Return the part of all prompts that is the beginning they have in common, but for the first of them."""
    if len(texts) < 2:
        return None
    # What the first and the last in order have in common, all have.
    pairs = zip(min(texts), max(texts), strict=False)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return alike * len(texts) / sum(map(len, texts)) * (number - 1) / number
