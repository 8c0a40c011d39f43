"""A plan counts as many calls as a run makes that knows which sequences are near a label."""

import numpy as np

from neuroscribe.simulate.questions import questions, simulation_tasks
from tests.neuroscribe.score.known_layer import NEURONS, SEQUENCES, Layer, explained, known_study

ENCODED = {
    "all_at_once": {"explainers": ["token_pairs"]},
    "embedding": {"model": "m", "explainers": ["token_pairs"]},
}


def test_a_plan_of_a_study_with_an_encoder_counts_the_draws_of_the_stratum_near_the_label() -> None:
    study = known_study(
        explainers={"token_pairs": {}},
        simulators=ENCODED,
        scoring={"sequences": 10, "sequences_per_split": 5},
    )
    evidence = Layer([explained(neuron, f"{neuron} 0.0") for neuron in range(NEURONS)], study).evidence()
    nearness = np.random.default_rng(0).random(SEQUENCES)
    tasks = simulation_tasks(evidence, "all_at_once", lambda _: nearness)

    asked = {(task.text, sequence) for task in tasks for sequence in task.sequence_ids}
    planned = {question.key("") for question in questions(evidence, "all_at_once")}
    # Exemplars that happen to be draws, too, are asked about once: a few more or less than planned.
    assert abs(len(planned) - len(asked)) < NEURONS / 4
