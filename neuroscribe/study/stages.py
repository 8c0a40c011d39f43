"""The stages, each declared once: version, settings, inputs, tables, and what it asks of language models.

Jobs, assets, freshness, plan and ledger read the declarations. The identity of a stage takes in those of the
stages before it, so that it changes exactly when something that its result depends on changes. How fast a
study runs is no part of it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from neuroscribe import __version__
from neuroscribe.fingerprint import fingerprint
from neuroscribe.study.kinds import KindSpec
from neuroscribe.study.sections import LLM_NEEDS
from neuroscribe.study.spec import LLMSpec, Study
from neuroscribe.tables import judged, records
from neuroscribe.tables.choices import CHOICES
from neuroscribe.tables.columns import Table
from neuroscribe.tables.descriptions import DESCRIPTIONS
from neuroscribe.tables.effects import EFFECTS
from neuroscribe.tables.encoded import ENCODED_CORPUS
from neuroscribe.tables.predictability import PREDICTABILITY
from neuroscribe.tables.scales import QUANTILE_LEVELS, histogram_edges
from neuroscribe.tables.sentences import SENTENCES

Phase = Literal["capture", "sample", "explain", "publish"]
Settings = dict[str, Any]


def _in_every_study(_: Study) -> bool:
    return True


@dataclass(frozen=True)
class Stage:
    """One step from text to dataset; an asset of the same name carries it out."""

    name: str
    version: int
    """Raised when its code gives other results than before."""
    phase: Phase
    """The job that it belongs to; from `sample` on there are only the layers that are explained."""
    settings: Callable[[Study], Settings]
    """The parts of a study that its result depends on, beside what the stages before it depend on."""
    reads: tuple[str, ...] = ()
    """The stages whose results go into its own."""
    tables: tuple[Table, ...] = ()
    asks: str | None = None
    """The name under which its calls of language models stand in the ledger; None if it makes none."""
    present: Callable[[Study], bool] = _in_every_study
    """Whether a study has this stage."""

    @property
    def is_optional(self) -> bool:
        """Whether some studies lack it."""
        return self.present is not _in_every_study

    @property
    def per_layer(self) -> bool:
        """Whether its results are a layer's, in one table."""
        return any(table.per_layer for table in self.tables)


def _tokenizer(study: Study) -> list[str | None]:
    return [study.subject.model, study.subject.revision, study.subject.artefact]


def _captured(study: Study) -> Settings:
    whole = {} if study.capture.whole == "none" else {"whole": study.capture.whole}
    return {"subject": study.subject.identifying, "capture": _kept(study), **whole}


def _sampled(study: Study) -> Settings:
    return {"sample": _drawn(study)}


def _drawn(study: Study, *beside: str) -> Settings:
    """Return how neurons are drawn, without some settings; later ones only where they are not the default."""
    later = set[str]() if study.sample.recognisable else {"recognisable"}
    return study.sample.model_dump(exclude={"layers", *later, *beside})


def _explained(study: Study) -> Settings:
    redrawn = study.scoring.stability_neurons and any(spec.draws > 1 for spec in study.explainers.values())
    # The first encoder tells how much explanations from other exemplars are alike.
    paraphraser = study.paraphraser_llm if study.asking("paraphraser_llm") else None
    stability = [study.scoring.stability_neurons, study.distinct_encoders[:1]]
    uses_encoder = any(spec.uses_encoder for spec in study.explainers.values())
    return {
        **({"stability": stability} if redrawn else {}),
        **({"encoder": study.distinct_encoders[:1]} if uses_encoder else {}),
        **({"paraphraser_llm": _llm(paraphraser)} if paraphraser else {}),
        "llm": _llm(study.llm),
        "explainers": study.explainers,
        "wording": _wording(study.explainers.values()),
    }


def _simulated(study: Study) -> Settings:
    scoring = study.scoring
    # By these, if any, more or fewer sequences than those of `test` are simulated, or others.
    beyond = {
        "fitted": sorted(study.fitted_simulators),
        "stop": scoring.stop_width,
        "near": study.encoders[:1],
        "ranked": [scoring.simulated_candidates] if scoring.simulated_candidates else [],
        **_weighed(study),
    }
    return {
        "simulators": study.simulators,
        **_asked(study, study.simulators.values()),
        "prompts": list(_wording(study.simulators.values()).values()),
        "per_split": scoring.sequences_per_split,
        "drawn": [scoring.sequences, scoring.seed],
        **{name: setting for name, setting in beyond.items() if setting},
    }


def _judged(study: Study) -> Settings:
    # Batch jobs give answers without the log-probabilities by which a judge says how sure it is.
    asked = _asked(study, study.judging.values())
    batched = {"batch": True} if asked and study.simulating_llm.batch else {}
    return {
        **batched,
        "scorers": {name: _without_later(spec) for name, spec in study.judging.items()},
        **asked,
        "prompts": list(_wording(study.judging.values()).values()),
        "per_split": study.scoring.sequences_per_split,
        "seed": study.scoring.seed,
        **_weighed(study),
    }


def _weighed(study: Study) -> Settings:
    """Return what a choice among explainers makes of populations: each is halved, a half for each split."""
    weighed = study.describing.weighed
    return {"weighed": [study.describing.simulator, *weighed]} if weighed else {}


def _described(study: Study) -> Settings:
    explainers = study.describing.explainers
    asked = [name for name in explainers if study.explainers[name].needs in LLM_NEEDS]
    rivals = {name: study.explainers[name].rival for name in explainers}
    return {"describing": vars(study.describing), "asked": asked, "rivals": rivals}


def _amplified(study: Study) -> Settings:
    # How the sampled sides are chosen, for these are amplified.
    sample = _drawn(study, "sequences")
    return {
        "subject": study.subject.identifying,
        "amplifying": study.amplifying,
        "sample": sample,
    }


def _has_effects(study: Study) -> bool:
    every = (*study.explainers.values(), *study.scorers.values())
    return any(spec.uses_effects for spec in every)


def _chosen(study: Study) -> Settings:
    """Return what is asked and who is: a model, or the study's first encoder."""
    by_encoder = any(spec.uses_encoder for spec in study.choosing.values())
    return {
        "scorers": study.choosing,
        **_asked(study, study.choosing.values()),
        "prompts": list(_wording(study.choosing.values()).values()),
        **({"encoder": study.distinct_encoders[:1]} if by_encoder else {}),
        "seed": study.scoring.seed,
    }


def _written(study: Study) -> Settings:
    return {
        "scorers": study.writing,
        **_asked(study, study.writing.values()),
        "prompts": list(_wording(study.writing.values()).values()),
        "seed": study.scoring.seed,
    }


def _ablated(study: Study) -> Settings:
    both_sides = study.capture.polarities == "both"
    return {"scorers": study.ablating, "subject": study.subject.identifying, "both_sides": both_sides}


def _published(study: Study) -> Settings:
    layouts = {"layouts": study.publish.added} if study.publish.added else {}
    return {"description": study.description, "licences": study.corpus.artefact, **layouts}


def _asked(study: Study, specs: Iterable[KindSpec]) -> Settings:
    """Return the model that simulates and judges, where some of these simulators or scorers ask one."""
    asks = any(spec.needs in LLM_NEEDS for spec in specs)
    return {"llm": _llm(study.simulating_llm)} if asks else {}


def _llm(spec: LLMSpec) -> Settings:
    """Return an LLM without what only says where it is, how it is asked and what it costs."""
    prices = {name for name in LLMSpec.model_fields if name.startswith("usd_per_million_")}
    return spec.model_dump(exclude={"base_url", "batch", *prices})


_NOT_SCORED_BY = {"max_unscored_share", "bootstrap_samples", "decides", "simulated_candidates"}
"""Settings that scores do not depend on, or only by what the stages before have made of them."""


def _kept(study: Study) -> Settings:
    """Return what is kept of the activations, without the memory and disk it may take.

    A later choice is named only where it is not the default, so that identities from before it hold.
    """
    later = {"token_histogram"} if study.capture.token_histogram else set[str]()
    return study.capture.model_dump(exclude={"lookup_gib", "whole", "random_exemplars", *later})


_LATER = ("per_call",)
"""Settings of kinds that came later, and are named only where they are not the default."""


def _without_later(spec: KindSpec) -> Settings:
    """Return a kind's settings without later ones at their defaults, so that identities from before hold."""
    fields = type(spec).model_fields
    unset = {name for name in _LATER if name in fields and getattr(spec, name) == fields[name].default}
    return spec.model_dump(exclude=unset)


def _wording(specs: Iterable[KindSpec]) -> dict[str, str]:
    """Return the prompt files on which the results of some explainers, simulators or judges rest."""
    return dict(sorted(item for spec in specs for item in spec.wording.items()))


STAGES: Mapping[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "corpus", 2, "capture", lambda study: {"corpus": study.corpus, "tokenizer": _tokenizer(study)},
            tables=(records.SEQUENCES, records.VOCABULARY),
        ),
        Stage(
            "encoded_corpus", 1, "capture", lambda study: {"encoders": study.distinct_encoders},
            reads=("corpus",), tables=(ENCODED_CORPUS,), present=lambda study: bool(study.encoders),
        ),
        Stage("activations", 4, "capture", _captured, reads=("corpus",), tables=(records.STATISTICS,)),
        Stage(
            "neuron_records", 4, "capture",
            lambda study: {"random_exemplars": study.capture.random_exemplars},
            reads=("corpus", "activations"), tables=(records.NEURON_RECORDS,),
        ),
        Stage(
            "connections", 2, "explain", lambda study: {"subject": study.subject.identifying},
            reads=("corpus",), tables=(records.CONNECTIONS,),
        ),
        Stage(
            "predictability", 1, "sample", lambda _: {}, reads=("corpus", "activations", "neuron_records"),
            tables=(PREDICTABILITY,), present=lambda study: bool(study.sample.recognisable),
        ),
        Stage(
            "sampled_activations", 1, "sample", _sampled, reads=("corpus", "activations", "predictability"),
            tables=(records.SAMPLED_ACTIVATIONS,),
        ),
        Stage(
            "token_lookup", 3, "sample", lambda _: {},
            reads=("corpus", "sampled_activations"), tables=(records.TOKEN_LOOKUP,),
        ),
        Stage(
            "effects", 1, "explain", _amplified, reads=("corpus", "activations", "predictability"),
            tables=(EFFECTS,), present=_has_effects,
        ),
        Stage(
            "explanations", 7, "explain", _explained, asks="explanation",
            reads=(
                "corpus", "encoded_corpus", "activations", "neuron_records", "predictability",
                "sampled_activations", "token_lookup", "connections", "effects",
            ),
            tables=(records.EXPLANATIONS,),
        ),
        Stage(
            "simulations", 6, "explain", _simulated, asks="simulation",
            reads=("corpus", "encoded_corpus", "neuron_records", "sampled_activations", "explanations"),
            tables=(records.SIMULATIONS,),
        ),
        Stage(
            "judgements", 2, "explain", _judged, asks="judgement", present=lambda study: bool(study.judging),
            reads=("corpus", "neuron_records", "sampled_activations", "explanations"),
            tables=(judged.JUDGEMENTS,),
        ),
        Stage(
            "ablations", 2, "explain", _ablated, present=lambda study: bool(study.ablating),
            reads=(
                "corpus", "activations", "neuron_records", "sampled_activations", "explanations",
                "simulations",
            ),
            tables=(judged.ABLATIONS,),
        ),
        Stage(
            "sentences", 1, "explain", _written, asks="sentence", present=lambda study: bool(study.writing),
            reads=("neuron_records", "explanations"), tables=(SENTENCES,),
        ),
        Stage(
            "choices", 1, "explain", _chosen, asks="choice", present=lambda study: bool(study.choosing),
            reads=(
                "corpus", "encoded_corpus", "neuron_records", "sampled_activations", "effects",
                "explanations",
            ),
            tables=(CHOICES,),
        ),
        Stage(
            "scores", 6, "explain",
            lambda study: {"scoring": study.scoring.model_dump(exclude=_NOT_SCORED_BY)},
            reads=(
                "corpus", "encoded_corpus", "neuron_records", "sampled_activations", "explanations",
                "simulations", "judgements", "ablations", "sentences", "choices",
            ),
            tables=(records.SCORES,),
        ),
        Stage(
            "descriptions", 1, "explain", _described,
            reads=("corpus", "neuron_records", "explanations", "choices", "scores"),
            tables=(DESCRIPTIONS,),
        ),
        Stage(
            "neuron_dataset", 1, "publish", _published,
            reads=(
                "corpus", "activations", "neuron_records", "connections", "sampled_activations",
                "token_lookup", "scores", "descriptions",
            ),
        ),
    )
}  # fmt: skip
"""All stages by name, in order: none reads a later one."""
TABLES: Mapping[str, Table] = {table.name: table for stage in STAGES.values() for table in stage.tables}
"""All tables by name, in the order of their stages."""


def stages_of(study: Study) -> tuple[str, ...]:
    """Return the stages of a study, in order."""
    return tuple(stage.name for stage in STAGES.values() if stage.present(study))


def layers_of(study: Study, stage: str) -> tuple[int, ...]:
    """Return the layers that a stage has results of, ascending; none for one whose results are of no layer.

    From the phase `sample` on these are the study's sampled layers: nothing is made, or asked, of others.
    """
    declared = STAGES[stage]
    if not declared.per_layer:
        return ()
    return tuple(range(study.subject.layers)) if declared.phase == "capture" else study.sampled_layers


def upstream_of(study: Study, stage: str) -> tuple[str, ...]:
    """Return the stages that one reads, of those that the study has."""
    present = stages_of(study)
    return tuple(name for name in STAGES[stage].reads if name in present)


def stage_version(study: Study, stage: str) -> str:
    """Return 16 hex digits naming a stage's code and settings, without the stages before it."""
    declared = STAGES[stage]
    return fingerprint(stage, declared.version, declared.settings(study))[:16]


def stage_identity(study: Study, stage: str) -> str:
    """Return 16 hex digits naming a stage together with all stages before it."""
    found: dict[str, str] = {}

    def identity(name: str) -> str:
        if name not in found:
            before = [identity(upstream) for upstream in upstream_of(study, name)]
            found[name] = fingerprint(stage_version(study, name), before)[:16]
        return found[name]

    return identity(stage)


def provenance(study: Study, stage: str) -> dict[str, Any]:
    """Return what is written into every file of a stage; the same inputs give the same text."""
    declared = STAGES[stage]
    has_histograms = records.STATISTICS in declared.tables or declared.phase == "publish"
    scales = {"histogram_edges": histogram_edges(), "quantile_levels": list(QUANTILE_LEVELS)}
    return {
        **(scales if has_histograms else {}),
        **({"units": study.subject.units} if study.subject.has_other_units else {}),
        "study": study.name,
        "stage": stage,
        "identity": stage_identity(study, stage),
        "code_version": f"{__version__}+{stage}.{declared.version}",
        "subject": study.subject.model,
        "subject_revision": study.subject.copy_of_weights,
        "dtype": study.subject.dtype,
        "corpus": study.corpus.artefact or study.corpus.files,
        "corpus_seed": study.corpus.seed,
        "sample_seed": study.sample.seed,
    }
