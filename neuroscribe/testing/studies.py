"""A small valid study of which a test says only what matters to it."""

from typing import Any

from neuroscribe.kinds import KnownStudy
from neuroscribe.study.spec import Study


def tiny_study(**given: Any) -> Study:
    """Return a study of one layer of 8 neurons with the sections given.

    Settings of `subject`, `corpus`, `llm` and `scoring` go over the usual ones; any other section is taken
    whole. The usual simulator, all at once, reads every explainer, and each neuron is explained once.
    """
    explainers = given.get("explainers", {"token_pairs": {}})
    usual = {
        "name": "s",
        "description": "",
        "explainers": explainers,
        "simulators": {"all_at_once": {"explainers": list(explainers)}},
    }
    sections = {
        "subject": {"model": "m", "layers": 1, "neurons_per_layer": 8},
        "corpus": {"files": "x", "sequences": 100},
        "llm": {"model": "m"},
        "scoring": {"stability_neurons": 0},
    }
    merged = {name: section | given.get(name, {}) for name, section in sections.items()}
    return KnownStudy.model_validate(usual | given | merged)
