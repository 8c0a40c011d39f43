"""The scorer `ablation`: the subject run with a simulation in the neuron's place (Bills et al. 2023)."""

from typing import Literal

from neuroscribe.study.kinds import AblationSpec


class Ablation(AblationSpec):
    """Does the subject go on as before when the neuron is replaced by its simulation? (Bills et al. 2023)."""

    kind: Literal["ablation"] = "ablation"
