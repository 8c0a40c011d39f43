"""Studies as data: a study names a subject, a corpus, a sample, and who explains, simulates and scores.

Fields that change results enter the fingerprint; how fast a study runs (device, batch, concurrency) is no
part of it and is set where the study is run.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, cast

from pydantic import Field, field_validator, model_validator

from neuroscribe.study.amplifying import AmplifyingSpec
from neuroscribe.study.capturing import CaptureSpec
from neuroscribe.study.describing import Describing, describing
from neuroscribe.study.exemplar_counts import check_bands, check_counts
from neuroscribe.study.halves import check_encoder, check_halves
from neuroscribe.study.kinds import (
    AblationSpec,
    ChoosingSpec,
    ExplainerSpec,
    JudgeSpec,
    KindSpec,
    LLMSection,
    SimulatorSpec,
    WritingSpec,
)
from neuroscribe.study.llms import LLMSpec as LLMSpec
from neuroscribe.study.named import check_explainers, check_layers, check_names
from neuroscribe.study.publishing import PublishSpec
from neuroscribe.study.sampling import SampleSpec
from neuroscribe.study.scoring import MEASURES, OF_FIRING, ScoringSpec
from neuroscribe.study.sections import (
    Capability,
    EncoderSpec,
    Name,
    Section,
    Seed,
    models_in,
)
from neuroscribe.study.subject import SubjectSpec
from neuroscribe.tables.scales import BANDS

SHORTEST_SEQUENCE, LONGEST_SEQUENCE = 2, 4096
"""Tokens of a sequence; positions are stored in 16 bits."""
AUTO = {
    "phrases": {"kind": "phrases"},
    "token_list": {"kind": "token_list", "tokens": 20, "by": "weight", "apart": True},
    "token_detector": {"kind": "token_detector"},
    "auto": {"kind": "auto"},
}
"""The explainers of a study that leaves them to Neuroscribe: without an LLM, and as its LLM reads best."""
BOTH, TEST = ("valid", "test"), ("test",)
"""The splits on which something is scored: `valid` only where it serves to choose or to fit."""


class CorpusSpec(Section):
    """Where the text comes from and how many sequences of it are studied."""

    artefact: str | None = Field(default=None, description="name in resources/models/artefacts.toml")
    files: str | None = Field(default=None, description="path or glob of .txt, .jsonl or .parquet files")
    text_column: str = Field(default="text", description="key or column that holds the text")
    sequences: Annotated[int, Field(gt=0, lt=2**32)]
    sequence_length: Annotated[int, Field(ge=SHORTEST_SEQUENCE, le=LONGEST_SEQUENCE)] = 64
    seed: Seed = 0

    @model_validator(mode="after")
    def one_source(self) -> "CorpusSpec":
        """Require exactly one source of text."""
        if (self.artefact is None) == (self.files is None):
            raise ValueError("give either `artefact` or `files`, and not both")
        return self


class Study(Section):
    """One study, as read from `studies/<name>.toml`.

    Which kinds of explainers, simulators and scorers there are is for `neuroscribe.kinds.KnownStudy` to say,
    the class of every study that is read.
    """

    name: Name
    description: str
    subject: SubjectSpec
    corpus: CorpusSpec
    capture: CaptureSpec = CaptureSpec()
    sample: SampleSpec = SampleSpec()
    llm: LLMSpec
    simulator_llm: LLMSpec | None = Field(
        default=None, description="the model that simulates and judges, where it is not [llm]"
    )
    paraphraser_llm: LLMSpec | None = Field(
        default=None, description="the model that puts explanations in other words; another than [llm]"
    )
    explainers: Annotated[Mapping[Name, ExplainerSpec], Field(min_length=1)]
    simulators: Annotated[Mapping[Name, SimulatorSpec], Field(min_length=1)]
    scorers: Mapping[Name, JudgeSpec | AblationSpec | WritingSpec | ChoosingSpec] = Field(
        default={}, description="scorers beside the measures that come with every simulator"
    )
    scoring: ScoringSpec = ScoringSpec()
    amplifying: AmplifyingSpec = AmplifyingSpec()
    publish: PublishSpec = PublishSpec()

    @field_validator("explainers", mode="before")
    @classmethod
    def left_to_us(cls, value: object) -> object:
        """Let `explainers = "auto"` stand for AUTO."""
        if isinstance(value, str) and value != "auto":
            raise ValueError(f'{value!r} names no explainers; write "auto", or a section for each')
        return AUTO if value == "auto" else value

    @field_validator("explainers", "simulators", "scorers", mode="before")
    @classmethod
    def kind_from_name(cls, value: object) -> object:
        """Let a table whose name is a kind leave the kind out."""
        if not isinstance(value, Mapping):
            return value
        tables = cast(Mapping[str, object], value)
        return {name: _with_kind(name, table) for name, table in tables.items()}

    @model_validator(mode="after")
    def parts_fit(self) -> "Study":
        """Check what one part says about another."""
        wanted, available = self.sample.neurons_per_layer, self.subject.neurons_per_layer
        if wanted != "all" and wanted > available:
            raise ValueError(
                f"sample.neurons_per_layer = {wanted}, but subject.neurons_per_layer = {available}; lower the"
                ' first, or write "all"'
            )
        check_layers("sample.layers", self.sample.layers, self.subject.layers)
        check_explainers(
            self.explainers,
            llm=self.llm.model,
            paraphraser=self.paraphraser_llm and self.paraphraser_llm.model,
            has_encoder=bool(self.encoders),
        )
        for name, simulator in self.simulators.items():
            check_names(f"simulators.{name}.explainers", simulator.explainers, self.explainers)
            check_layers(f"simulators.{name}.layers", simulator.layers, self.subject.layers)
            if not any(simulator.reads_some(layer) for layer in self.sampled_layers):
                raise ValueError(
                    f"simulators.{name}.layers names none of sample.layers, so that it would read nothing;"
                    " name one of these, or remove the simulator"
                )
        assert self.describing, "refuses what cannot be decided"
        if taken := set(self.scorers) & set(MEASURES):
            raise ValueError(f"scorers.{sorted(taken)[0]} has a measure's name; rename it and keep `kind`")
        if doubled := [name for name, count in Counter(self._scorer_names()).items() if count > 1]:
            raise ValueError(f"two scorers would publish scores as {doubled[0]!r}; rename one of [scorers.*]")
        for name, scorer in self.scorers.items():
            if isinstance(scorer, AblationSpec):
                check_names(f"scorers.{name}.simulators", scorer.simulators, self.simulators)
            else:
                check_names(f"scorers.{name}.explainers", scorer.explainers, self.explainers)
        check_halves(self.explainers, self.simulators, self.scorers)
        check_encoder(self.choosing, self.encoders)
        if self.simulating_llm.batch and (lacking := self._read_by_logprobs):
            raise ValueError(
                f"batch = true gives no log-probabilities, which {lacking[0]!r} reads; name the model in"
                " [simulator_llm] without batch, or take batch out of [llm]"
            )
        if self.sample.polarity != "positive" and self.capture.polarities == "positive":
            raise ValueError(f'sample.polarity = "{self.sample.polarity}" needs capture.polarities = "both"')
        check_counts(
            top=self.capture.top_k,
            random=self.capture.random_exemplars,
            scored=self.scoring.sequences_per_split,
            shown={name: explainer.excerpts_shown for name, explainer in self.explainers.items()},
        )
        check_bands(
            kept=self.capture.quantile_exemplars,
            bands=BANDS,
            shown={name: explainer.banded_shown for name, explainer in self.explainers.items()},
        )
        return self

    @classmethod
    def known_kinds(cls, table: str) -> dict[str, type[KindSpec]]:
        """Return the kinds that a table of the study (`explainers`, `simulators`, `scorers`) may name."""
        kinds = models_in(cls.model_fields[table].annotation)
        return {kind.model_fields["kind"].default: kind for kind in kinds if issubclass(kind, KindSpec)}

    def _scorer_names(self) -> Iterator[str]:
        """Yield the names under which scores are published, as `study.dues.dues` gives them."""
        for simulator in self.simulators:
            yield from (f"{measure}_{simulator}" for measure in self.measures_of(simulator))
        for name, scorer in self.scorers.items():
            yield from scorer.published_as(name)

    @property
    def sampled_layers(self) -> tuple[int, ...]:
        """Layers that the default job explains, ascending."""
        if self.sample.layers == "all":
            return tuple(range(self.subject.layers))
        return tuple(sorted(set(self.sample.layers)))

    @property
    def explaining_needs(self) -> frozenset[Capability]:
        """What those of the study's explainers need that ask [llm]."""
        return frozenset(spec.needs for spec in self.asking("llm").values() if spec.needs)

    def asking(self, section: LLMSection) -> dict[str, ExplainerSpec]:
        """Return the explainers that ask the model of a section, by name."""
        return {name: spec for name, spec in self.explainers.items() if spec.needs and spec.asks == section}

    def reads_table(self, explainer: str) -> bool:
        """Whether an explainer, or one that it builds on, shows what TOKEN_LOOKUP says of a neuron."""
        spec = self.explainers[explainer]
        return spec.reads_table or any(self.reads_table(other) for other in spec.builds_on)

    @property
    def simulating_needs(self) -> frozenset[Capability]:
        """What the study's simulators and scorers need."""
        return frozenset(spec.needs for _, spec in self._simulating if spec.needs)

    @property
    def judging(self) -> dict[str, JudgeSpec]:
        """The scorers that ask about excerpts, by name."""
        return {name: spec for name, spec in self.scorers.items() if isinstance(spec, JudgeSpec)}

    @property
    def choosing(self) -> dict[str, ChoosingSpec]:
        """The scorers that ask which of several options is meant, by name."""
        return {name: spec for name, spec in self.scorers.items() if isinstance(spec, ChoosingSpec)}

    @property
    def writing(self) -> dict[str, WritingSpec]:
        """The scorers that have sentences written, by name."""
        return {name: spec for name, spec in self.scorers.items() if isinstance(spec, WritingSpec)}

    @property
    def ablating(self) -> dict[str, AblationSpec]:
        """The scorers that run the subject on simulated activations, by name."""
        return {name: spec for name, spec in self.scorers.items() if isinstance(spec, AblationSpec)}

    @property
    def fitted_simulators(self) -> frozenset[str]:
        """Simulators whose values are fitted to the truth on `valid`, and so are asked there, too."""
        if self.scoring.calibration != "none":
            return frozenset(self.simulators)
        return frozenset(name for spec in self.ablating.values() for name in spec.simulators)

    @property
    def scored_text(self) -> str:
        """Of which text scores of the regime `corpus` speak, in words."""
        kept, sequences = self.sample.sequences, self.corpus.sequences
        if kept == "all" or kept >= sequences:
            return "the corpus"
        return f"a seeded draw of {kept:,} of the {sequences:,} sequences"

    def measures_of(self, simulator: str) -> tuple[str, ...]:
        """Return the measures of a simulator."""
        left_out = () if self.simulators[simulator].tells_firing else OF_FIRING
        return tuple(measure for measure in self.scoring.measures if measure not in left_out)

    @property
    def describing(self) -> Describing:
        """Which explainers may describe a neuron, and which simulator decides."""
        return describing(self.explainers, self.simulators, self.scoring)

    def population_splits(self, explainer: str) -> tuple[str, ...]:
        """Return the splits that the population of an explainer's explanations is parted into.

        `valid` is kept apart where something is chosen: among a neuron's candidates, or among explainers, and
        then for all of them, or what is there to compare with would be scored on other text.
        """
        is_parted = self.describing.weighed and self.explainers[explainer].half == "input"
        return BOTH if self._chooses(explainer) or is_parted else TEST

    def scored_splits(self, explainer: str, simulator: str | None = None) -> tuple[str, ...]:
        """Return the splits on which an explainer's explanations are scored, by a simulator or else a scorer.

        `valid` only serves to choose: candidates by each of them, descriptions by the simulator that decides.
        """
        decides = simulator == self.describing.simulator and explainer in self.describing.weighed
        return BOTH if self._chooses(explainer) or decides else TEST

    def simulated_splits(self, explainer: str, simulator: str) -> tuple[str, ...]:
        """Return the splits that are simulated: `valid`, too, where values are fitted to the truth there.

        One that costs nothing reads the corpus itself for the choice of a description.
        """
        if simulator in self.fitted_simulators or self._chooses(explainer):
            return BOTH
        return TEST if self.simulators[simulator].costs_nothing else self.scored_splits(explainer, simulator)

    def _chooses(self, explainer: str) -> bool:
        return self.explainers[explainer].texts_per_neuron > 1

    @property
    def encoders(self) -> tuple[EncoderSpec, ...]:
        """The sentence encoders of simulators and scorers; those that only find near texts come last."""
        every = [encoder for _, spec in self._simulating for encoder in spec.encoders]
        return tuple(sorted(every, key=lambda encoder: not isinstance(encoder, KindSpec)))

    @property
    def distinct_encoders(self) -> tuple[EncoderSpec, ...]:
        """Those encoders, each once and without the settings of what uses it."""
        return tuple(dict.fromkeys(encoder.weights for encoder in self.encoders))

    @property
    def _simulating(self) -> tuple[tuple[str, KindSpec], ...]:
        """Simulators and scorers with their names."""
        return (*self.simulators.items(), *self.scorers.items())

    @property
    def _read_by_logprobs(self) -> list[str]:
        """Names of simulators and scorers that read log-probabilities."""
        read = ("prompt_logprobs", "next_token")
        return [name for name, spec in self._simulating if spec.needs in read]

    @property
    def simulating_llm(self) -> LLMSpec:
        """The model that simulates and judges."""
        return self.simulator_llm or self.llm

    @property
    def pins_capture(self) -> bool:
        """Whether a capture is of the same weights and text every time."""
        return self.subject.is_pinned and self.corpus.files is None

    @property
    def pins_all(self) -> bool:
        """Whether explanations and scores, too, are of the same weights every time.

        A server's model cannot be pinned; its name stands for it.
        """
        llms = (self.llm, self.simulating_llm, self.paraphraser_llm or self.llm)
        pinned = all(spec.served or spec.is_pinned for spec in llms)
        others = (*self.encoders, *self.explainers.values())
        return self.pins_capture and pinned and all(spec.is_pinned for spec in others)

    @property
    def polarities(self) -> tuple[int, ...]:
        """Signs whose extremes are kept: (1,) or (1, -1)."""
        return (1, -1) if self.capture.polarities == "both" else (1,)


def layer_key(layer: int) -> str:
    """Return the partition key of a layer, zero-padded so that ranges follow the order of layers."""
    return f"layer_{layer:02d}"


def layer_of(key: str) -> int:
    """Return the layer that a partition key names."""
    return int(key.removeprefix("layer_"))


def _with_kind(name: str, table: object) -> object:
    return {"kind": name, **cast(Mapping[str, object], table)} if isinstance(table, Mapping) else table
