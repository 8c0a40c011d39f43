"""Stored results stay up to date: identities of stages are those that earlier releases wrote into stores.

`identities.json` was written by commit db6481d, before the code was laid out in folders. A stage whose number
is raised on purpose has its identity, and those after it, written there anew.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from neuroscribe.kinds import KnownStudy
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import stage_identity, stages_of

STUDIES = Path(__file__).parents[3] / "studies"
KNOWN: Mapping[str, Mapping[str, str]] = json.loads(Path(__file__).with_name("identities.json").read_text())
HIGHLIGHTS: dict[str, Any] = {"explainers": ["highlights"]}
ENCODER = {"artefact": "all-minilm-l6-v2", **HIGHLIGHTS}
ASKED = ("all_at_once", "one_at_a_time", "matching_words", "structured")
EXPLAINERS = (
    "token_pairs", "next_token", "highlights", "logit_lens", "token_summary", "token_list", "phrases",
    "token_detector", "promotes", "output_tokens", "phrase_summary", "auto",
)  # fmt: skip
SENSES = {"senses": {"beside": "mixed"}, "mixed": {"kind": "senses", "groups": "random"}}
STEERING = {"explainers": ["promotes", "output_tokens"]}
DERIVED = {
    "revision": {"of": "highlights"},
    "paraphrase": {"of": "highlights"},
    "imported": {"file": "labels.csv", "sha256": "0" * 64},
}
JUDGES = {"detection": HIGHLIGHTS, "fuzzing": HIGHLIGHTS}
BATCH = {"provider": "openai", "model": "m", "batch": True, "usd_per_million_prompt_tokens": 1.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "every_kind": {
        "explainers": {**{kind: {} for kind in EXPLAINERS}, **SENSES, **DERIVED},
        "paraphraser_llm": {"provider": "openai", "model": "p"},
        "simulators": {**dict.fromkeys(ASKED, HIGHLIGHTS), "embedding": ENCODER},
        "scorers": {
            **JUDGES,
            "retrieval": ENCODER,
            "ablation": {"simulators": ["embedding"]},
            "sensitivity": HIGHLIGHTS,
            "sensitivity_templates": {"explainers": ["token_list"]},
            "steering": STEERING,
            "intruder": {},
        },
        "sample": {"recognisable": 1},
    },
    "calibrated": {"scoring": {"calibration": "linear", "stop_width": 0.4, "max_unscored_share": 0.2}},
    "whole": {"capture": {"whole": "bf16", "polarities": "both", "token_histogram": False}},
    "batched": {
        "llm": BATCH,
        "explainers": {"highlights": {}},
        "simulators": {"matching_words": HIGHLIGHTS},
        "scorers": JUDGES,
    },
    "two_models": {"simulator_llm": {"provider": "openai", "model": "s", "base_url": "http://x/v1"}},
    "compiled": {"subject": {"compiled": True}},
}
"""Changes of the default study that reach every part of an identity; `llm` and kinds are replaced whole."""


def varied(name: str) -> Study:
    stem, _, variant = name.partition("+")
    data = tomllib.loads((STUDIES / f"{stem}.toml").read_text(encoding="utf-8"))
    for part, change in VARIANTS.get(variant, {}).items():
        kept = data.get(part, {}) if part in ("subject", "capture", "scoring", "sample") else {}
        data[part] = {**kept, **change}
    return KnownStudy.model_validate({"name": stem, **data})


@pytest.mark.parametrize("name", KNOWN)
def test_the_identities_of_a_study_are_those_in_existing_stores(name: str):
    study = varied(name)
    assert {stage: stage_identity(study, stage) for stage in stages_of(study)} == KNOWN[name]


def test_every_stage_is_among_the_known_identities():
    study = varied("embedded+every_kind")
    assert set(KNOWN["embedded+every_kind"]) == set(stages_of(study))
    assert len(stages_of(study)) == 18
