"""What each stage's result depends on: its own code's version and the parts of the study it reads.

The identity of a stage takes in those of the stages before it, so that it changes exactly when something that
its result depends on changes. How fast a study runs is no part of it.
"""

from typing import Any

from neuroscribe import __version__
from neuroscribe.fingerprint import fingerprint
from neuroscribe.study.prompts import judging_identity as judging_prompt_identity
from neuroscribe.study.prompts import prompt_identity, wordings
from neuroscribe.study.spec import LLMSpec, Study
from neuroscribe.tables.scales import QUANTILE_LEVELS, histogram_edges

VERSIONS = {
    "corpus": 1,
    "activations": 3,
    "neuron_records": 3,
    "token_lookup": 2,
    "connections": 2,
    "explanations": 4,
    "simulations": 5,
    "judgements": 1,
    "ablations": 1,
    "scores": 4,
    "neuron_dataset": 1,
}
"""Raise a stage's number when its code gives other results than before."""

UPSTREAM: dict[str, tuple[str, ...]] = {
    "corpus": (),
    "activations": ("corpus",),
    "neuron_records": ("corpus", "activations"),
    "token_lookup": ("corpus", "activations"),
    "connections": ("corpus",),
    "explanations": ("corpus", "activations", "neuron_records", "token_lookup", "connections"),
    "simulations": ("corpus", "neuron_records", "explanations"),
    "judgements": ("corpus", "neuron_records", "explanations"),
    "ablations": ("corpus", "activations", "neuron_records", "token_lookup", "explanations", "simulations"),
    "scores": (
        "corpus", "neuron_records", "token_lookup", "explanations", "simulations", "judgements", "ablations",
    ),
    "neuron_dataset": ("corpus", "activations", "neuron_records", "token_lookup", "connections", "scores"),
}  # fmt: skip
"""The stages before each one; `judgements` and `ablations` exist only for studies with such scorers."""


def stages_of(study: Study) -> tuple[str, ...]:
    """Return the stages of a study, in order."""
    optional = {"judgements": study.judging, "ablations": study.ablating}
    return tuple(stage for stage in UPSTREAM if optional.get(stage, True))


def upstream_of(study: Study, stage: str) -> tuple[str, ...]:
    """Return the stages before one, of those that the study has."""
    there = stages_of(study)
    return tuple(name for name in UPSTREAM[stage] if name in there)


def stage_version(study: Study, stage: str) -> str:
    """Return 16 hex digits naming a stage's code and settings, without the stages before it."""
    return fingerprint(stage, VERSIONS[stage], _settings(study, stage))[:16]


def stage_identity(study: Study, stage: str) -> str:
    """Return 16 hex digits naming a stage together with all stages before it."""
    return fingerprint(
        stage_version(study, stage), [stage_identity(study, name) for name in upstream_of(study, stage)]
    )[:16]


def provenance(study: Study, stage: str) -> dict[str, Any]:
    """Return what is written into every file of a stage; the same inputs give the same text."""
    scales = {"histogram_edges": histogram_edges(), "quantile_levels": list(QUANTILE_LEVELS)}
    return {
        **(scales if stage in ("activations", "neuron_dataset") else {}),
        **({"units": study.subject.units} if study.subject.has_other_units else {}),
        "study": study.name,
        "stage": stage,
        "identity": stage_identity(study, stage),
        "code_version": f"{__version__}+{stage}.{VERSIONS[stage]}",
        "subject": study.subject.model,
        "subject_revision": study.subject.revision or study.subject.artefact or "unpinned",
        "dtype": study.subject.dtype,
        "corpus": study.corpus.artefact or study.corpus.files,
        "corpus_seed": study.corpus.seed,
        "sample_seed": study.sample.seed,
    }


def simulation_prompts(study: Study) -> list[str]:
    """Return the identity of every prompt that the study's simulators may use, and of no other."""
    layouts = {layout for spec in study.simulators.values() for layout in spec.prompts}
    return [prompt_identity(layout) for layout in sorted(layouts)]


def _settings(study: Study, stage: str) -> dict[str, Any]:
    """Return the parts of a study that a stage reads."""
    subject = study.subject.identifying
    match stage:
        case "corpus":
            return {
                "corpus": study.corpus,
                "tokenizer": [subject["model"], subject["revision"], subject["artefact"]],
            }
        case "activations":
            lookup = [study.sample.neurons_per_layer, study.sample.seed]
            whole = {} if study.capture.whole == "none" else {"whole": study.capture.whole}
            return {"subject": subject, "capture": _capture(study), "lookup": lookup, **whole}
        case "neuron_records" | "token_lookup":
            return {"capture": _capture(study)}
        case "connections":
            return {"subject": subject}
        case "explanations":
            sample = study.sample.model_dump(exclude={"layers"})
            return {
                "sample": sample,
                "llm": _llm(study.llm),
                "explainers": study.explainers,
                "wording": wordings([spec.kind for spec in study.explainers.values()]),
            }
        case "simulations":
            per_split = study.scoring.sequences_per_split
            return {
                "simulators": study.simulators,
                "llm": _llm(study.simulating_llm),
                "prompts": simulation_prompts(study),
                "per_split": per_split,
                **_beyond_test(study),
            }
        case "judgements":
            # Batch jobs give answers without the log-probabilities by which a judge says how sure it is.
            batched = {"batch": True} if study.simulating_llm.batch else {}
            return {
                **batched,
                "scorers": study.judging,
                "llm": _llm(study.simulating_llm),
                "prompts": [judging_prompt_identity("detection"), judging_prompt_identity("fuzzing")],
                "per_split": study.scoring.sequences_per_split,
                "seed": study.scoring.seed,
            }
        case "ablations":
            subject = {"subject": subject, "both_sides": study.capture.polarities == "both"}
            return {"scorers": study.ablating, **subject}
        case "scores":
            return {"scoring": study.scoring.model_dump(exclude={"max_unscored_share"})}
        case _:
            return {"description": study.description, "licences": study.corpus.artefact}


def _beyond_test(study: Study) -> dict[str, Any]:
    """Return settings by which more or fewer sequences than those of `test` are simulated, if any."""
    scoring = study.scoring
    fitted = {"fitted": sorted(study.fitted_simulators)} if study.fitted_simulators else {}
    stop = [scoring.stop_width, scoring.bootstrap_samples, scoring.seed]
    return {**fitted, **({} if scoring.stop_width is None else {"stop": stop})}


def _llm(spec: LLMSpec) -> dict[str, Any]:
    """Return an LLM without what only says where it is, how it is asked and what it costs."""
    prices = {name for name in LLMSpec.model_fields if name.startswith("usd_per_million_")}
    return spec.model_dump(exclude={"base_url", "batch", *prices})


def _capture(study: Study) -> dict[str, Any]:
    """Return what is kept of the activations, without the memory and disk it may take.

    A later choice is named only where it is not the default, so that identities from before it hold.
    """
    later = {"token_histogram"} if study.capture.token_histogram else set[str]()
    return study.capture.model_dump(exclude={"lookup_gib", "whole", *later})
