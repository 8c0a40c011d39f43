"""What neurons do, on a subject whose neurons write a known group of tokens."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from neuroscribe.effect.amplifier import Amplifier, Held
from neuroscribe.effect.stage import layer_effects, openings
from neuroscribe.effect.strength import multiples, reaching
from neuroscribe.errors import StudyError, SubjectError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.study.spec import Study
from neuroscribe.subject.subject import Subject
from neuroscribe.tables.records import STATISTICS
from neuroscribe.testing.planted import (
    BODY,
    CITIES,
    GROUPS,
    MUSIC,
    NEURONS,
    WEATHER,
    planted_corpus,
    planted_subject,
    planted_tokenizer,
)
from neuroscribe.testing.random_subjects import as_subject, random_subject
from neuroscribe.testing.rows import filled, sequence_table, vocabulary_table
from neuroscribe.testing.stores import Interrupted, MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study
from neuroscribe.text.token_bytes import tokenizer_facts

LAYER = 1
WRITES = {0: BODY, 1: WEATHER, 3: MUSIC, 4: CITIES}
"""What neurons of layer 1 promote."""
LARGEST = 0.25
FACTS = tokenizer_facts(planted_tokenizer())
IDS = [FACTS.encode(text)[:16] for text in planted_corpus(40, seed=3)]


def subject(model: Any = None, **settings: Any) -> Subject:
    own = model or planted_subject()
    return Subject(own, FACTS, "tiny", "0", own.dtype, torch.device("cpu"), **settings)


def study(**amplifying: Any) -> Study:
    return tiny_study(
        subject={"model": "m", "layers": 2, "neurons_per_layer": NEURONS},
        explainers={"token_pairs": {}, "promotes": {}},
        simulators={"all_at_once": {"explainers": ["token_pairs"]}},
        amplifying=amplifying,
    )


def evidence(
    own: Study, neurons: Sequence[tuple[int, int]], ids: Sequence[Sequence[int]] = IDS
) -> LayerEvidence:
    # As if text moved the neurons little, so that they have to be held far above that.
    statistics = [{"neuron": n, "layer": LAYER, "min": -LARGEST, "max": LARGEST} for n in range(NEURONS)]
    tables = {
        "activations/statistics": filled(STATISTICS, *statistics),
        "corpus/sequences": sequence_table(ids),
        "corpus/vocabulary": vocabulary_table(FACTS.token_bytes),
    }
    return LayerEvidence(own, LAYER, tables, neurons=neurons)


def effects(
    neurons: Sequence[tuple[int, int]] = tuple((neuron, 1) for neuron in WRITES),
    calls: Any = None,
    progress: Any = None,
    model: Subject | None = None,
    **amplifying: Any,
) -> pl.DataFrame:
    own = evidence(study(**amplifying), neurons)
    made = layer_effects(
        own, subject=model or subject(), calls=calls or MemoryCalls(), progress=progress or SilentProgress()
    )
    return asyncio.run(made)


def spelled(token_ids: Sequence[int]) -> list[str]:
    return [FACTS.token_bytes[token].decode(errors="replace") for token in token_ids]


def test_a_neuron_promotes_the_tokens_that_it_writes_and_all_of_these_first():
    made = effects()
    for neuron, group in WRITES.items():
        up = made.filter(neuron=neuron, kind="promoted").sort("rank")
        tokens = GROUPS[group]
        assert set(spelled(up["token_id"].to_list()[: len(tokens)])) == set(tokens)
        assert up["change"].is_sorted(descending=True)
        down = made.filter(neuron=neuron, kind="suppressed")
        assert set(tokens).isdisjoint(spelled(down["token_id"].to_list()))
        assert (down["change"] < 0).all()


def test_with_a_neuron_amplified_the_subject_says_what_it_writes():
    made = effects(divergence=4.0).filter(kind="continuation")
    for neuron, group in WRITES.items():
        said = made.filter(neuron=neuron)
        for column, least, most in (("token_ids", 0.6, 1.0), ("plain_token_ids", 0.0, 0.2)):
            tokens = spelled(said[column].explode().to_list())
            assert least <= np.mean([token in GROUPS[group] for token in tokens]) <= most


def test_neurons_are_held_where_predictions_move_as_far_as_is_asked():
    for wanted in (0.5, 2.0):
        sides = effects(divergence=wanted).unique("neuron")
        # Strengths are found on four openings and between two that were tried.
        assert sides["divergence"].to_list() == pytest.approx([wanted] * len(WRITES), rel=0.35)
    stronger = effects(divergence=2.0).unique("neuron")["amplified"].sort()
    assert (stronger > effects(divergence=0.5).unique("neuron")["amplified"].sort()).all()


def test_a_neuron_that_does_nothing_is_held_as_far_up_as_may_be_and_changes_nothing():
    made = effects([(8, 1)], most=16.0)
    assert set(made["kind"]) == {"continuation"}
    assert made["amplified"].to_list() == pytest.approx([16 * LARGEST] * len(made))
    assert made["divergence"].max() == pytest.approx(0, abs=1e-6)
    assert made["token_ids"].to_list() == made["plain_token_ids"].to_list()


def test_the_negative_side_is_held_at_negative_activations_and_suppresses_what_the_other_promotes():
    made = effects([(0, -1)])
    assert (made["amplified"] < 0).all()
    down = made.filter(kind="suppressed").sort("rank")["token_id"].to_list()
    assert set(spelled(down[: len(GROUPS[BODY])])) == set(GROUPS[BODY])


@pytest.mark.parametrize(
    ("found", "multiple"),
    [
        ((0.1, 1.0, 10.0), 2.0),
        ((0.25, 1.0, 10.0), 2.0),
        ((0.1, 0.2, 5.0), 2 * 2 ** 0.5),
        ((3.0, 4.0, 5.0), 1.0),
        ((0.0, 0.0, 0.5), 4.0),
    ],
)  # fmt: skip
def test_the_strength_at_which_a_divergence_is_reached(found: tuple[float, ...], multiple: float):
    # ln 1 lies half way between ln .2 and ln 5.
    assert reaching(1.0, (1.0, 2.0, 4.0), np.array(found)) == pytest.approx(multiple)


def test_strengths_are_tried_by_powers_of_two_up_to_the_largest():
    assert multiples(5.0) == [1.0, 2.0, 4.0, 5.0]
    assert multiples(1.0) == [1.0]


def test_openings_to_read_and_to_go_on_from_share_no_document():
    read, continued = openings(evidence(study(prompts=15), []))
    assert len(read) == len(continued) == 15
    assert set(read).isdisjoint(continued)
    assert openings(evidence(study(prompts=15), [])) == (read, continued)
    assert openings(evidence(study(prompts=15, seed=1), [])) != (read, continued)


def test_a_corpus_of_one_document_is_refused():
    with pytest.raises(StudyError, match=r"the corpus has 1 document.* give it more text"):
        openings(evidence(study(), [], ids=IDS[:1]))


def test_a_model_without_logits_is_refused():
    model = subject(planted_subject().transformer)
    amplifier = Amplifier(model, subject().sites()[LAYER])
    with pytest.raises(SubjectError, match=r"tiny gives no logits.* take the explainers and scorers of the"):
        next(amplifier.predictions(torch.tensor([[1, 2]]), [None]))


def test_a_killed_run_loses_one_group_and_gives_the_same():
    # Of openings of 6 tokens and 14 more, 30 fit into 600 tokens: the neurons go by twos.
    slow, calls = subject(batch_tokens=600), MemoryCalls()
    with pytest.raises(Interrupted):
        effects(calls=calls, progress=SilentProgress(fail_at=1), model=slow)
    assert len(calls.answers) == 1
    assert effects(calls=calls, model=slow).equals(effects(model=slow))


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "opt", "mamba"])
@pytest.mark.parametrize("prefix", [(), (3,)])
def test_a_model_goes_on_from_its_cache_as_if_it_read_all_again(model_type: str, prefix: tuple[int, ...]):
    model = random_subject(model_type) if model_type != "mamba" else _without_cache(random_subject("llama"))
    facts = type(FACTS)(lambda _: [], tuple(b"t%d" % n for n in range(31)), frozenset({2}), "none")
    own = as_subject(model, prefix_ids=prefix)
    own = Subject(own.model, facts, own.name, "0", own.dtype, own.device, prefix_ids=prefix)
    amplifier = Amplifier(own, own.sites()[1])
    read, held = torch.tensor([[4, 5, 6], [7, 8, 9]]), [Held(3, 40.0), None, Held(5, -40.0)]
    said = amplifier.continuations(read, held, tokens=5, temperature=0.0, seed=0)
    assert said.shape == (3, 2, 5)
    assert 2 not in said  # a token of control
    for place, each in enumerate(held):
        text = read
        for _ in range(5):
            (expected,) = amplifier.predictions(text, [each])
            expected[..., 2] = -torch.inf
            text = torch.cat([text, expected[:, -1].argmax(-1, keepdim=True)], 1)
        assert text[:, 3:].tolist() == said[place].tolist()


def _without_cache(model: Any) -> Any:
    forward = model.forward

    def run(input_ids: Any, **_: Any) -> Any:
        return forward(input_ids=input_ids, use_cache=False)

    model.forward = run
    return model


def test_neurons_in_one_pass_do_not_touch_each_other():
    neurons = [(neuron, 1) for neuron in WRITES]
    together = effects(neurons)
    alone = pl.concat([effects([neuron]) for neuron in neurons]).sort("neuron", maintain_order=True)
    columns = ("neuron", "kind", "rank", "token_id", "token_ids")
    changed = together.filter(pl.col("kind") != "suppressed").select(*columns)
    assert changed.equals(alone.filter(pl.col("kind") != "suppressed").select(*columns))


def test_noise_is_that_of_the_opening_and_the_seed():
    def said(**settings: Any) -> Mapping[str, Any]:
        return effects([(0, 1)], **settings).filter(kind="continuation")["token_ids"].to_list()

    assert said() == said()
    assert said() != said(seed=1)
    assert said(temperature=0.0) != said()
