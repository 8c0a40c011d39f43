import asyncio
import math
from typing import Any

import polars as pl
import pytest
import torch

from neuroscribe.ablate.divergence import Replacement, divergences, jensen_shannon
from neuroscribe.ablate.stage import ablated_layer, mean_activation
from neuroscribe.errors import SubjectError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.score.stage import scored_layer
from neuroscribe.study.spec import Study
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.tables.judged import ABLATIONS
from neuroscribe.tables.records import (
    EXPLANATIONS,
    NEURON_RECORDS,
    SCORES,
    SIMULATIONS,
    STATISTICS,
)
from neuroscribe.testing.planted import STRONG, planted_activation, planted_subject, planted_tokenizer
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.rows import (
    exemplar_row,
    explanation_row,
    filled,
    sampled_table,
    sequence_table,
    simulation_row,
    vocabulary_table,
)
from neuroscribe.testing.stores import Interrupted, MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study
from neuroscribe.text.token_bytes import TokenizerFacts
from tests.neuroscribe.simulate.answering import NoEncoders

LAYER, TOOLS, DAYS = 1, 0, 1
"""Neurons of layer 1 that read tools and days, and write parts of the body and weather."""
TEXTS = {
    1: (" the", " hammer", " of", " saw"),
    2: (" a", " drill", " and", " Monday"),
    3: (" Friday", " of", " the", " hammer"),
    4: (" in", " the", " saw", " with"),
}
VALID, TEST = (1, 2), (3, 4)
MEAN = 2.25
VOCABULARY = planted_tokenizer().get_vocab()


def subject(model: Any = None, prefix: tuple[int, ...] = ()) -> Subject:
    own = model or planted_subject()
    facts = TokenizerFacts(lambda _: [], (), frozenset(), "none")
    return Subject(own, facts, "tiny", "0", own.dtype, torch.device("cpu"), prefix_ids=prefix)


def ids(sequence: int) -> list[int]:
    return [VOCABULARY["Ġ" + token.strip()] for token in TEXTS[sequence]]


def truth(sequence: int, neuron: int = TOOLS) -> list[float]:
    return [planted_activation(LAYER, neuron, token) for token in TEXTS[sequence]]


def moved(own: Subject, tokens: list[int], *values: list[float], neuron: int = TOOLS) -> list[float]:
    site = own.sites()[LAYER]
    rows = [Replacement(neuron, 1, tuple(row)) for row in values]
    return divergences(own, site, tokens, rows, keeps_other_side=False)


def test_a_divergence_worked_by_hand() -> None:
    one, other = torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log(), torch.tensor([[1.0, 0.0], [0.0, 1.0]]).log()
    # The middle of the first pair is (3/4, 1/4): half of .5 ln(2/3) + .5 ln 2, and half of ln(4/3)
    first = (0.5 * math.log(2 / 3) + 0.5 * math.log(2) + math.log(4 / 3)) / 2
    assert jensen_shannon(one, other).tolist() == pytest.approx([first, math.log(2)])
    assert jensen_shannon(one, one).tolist() == [0, 0]


def test_the_true_activations_change_nothing_and_others_do() -> None:
    own = subject()
    same, silent = moved(own, ids(3), truth(3), [0.0] * 4)
    assert same == pytest.approx(0, abs=1e-9)
    assert silent > 1e-3


def test_a_neuron_replaced_by_0_is_one_whose_output_weights_are_0() -> None:
    own, cut = subject(), planted_subject()
    with torch.no_grad():
        cut.transformer.h[LAYER].mlp.c_proj.weight[TOOLS] = 0
    tokens = torch.tensor([ids(3)])
    with torch.no_grad():
        clean, other = (model(tokens).logits[0].double().log_softmax(-1) for model in (own.model, cut))
    p, q = clean.exp(), other.exp()
    middle = (p + q) / 2
    wanted = ((p * (clean - middle.log()) + q * (other - middle.log())).sum(-1) / 2).mean()
    assert moved(own, ids(3), [0.0] * 4) == [pytest.approx(float(wanted), rel=1e-5)]


def test_only_the_tokens_that_differ_move() -> None:
    own, values = subject(), truth(3)
    first, later = (STRONG, *values[1:]), (*values[:3], 0.0)
    together = moved(own, ids(3), [first[0], *later[1:]])
    assert together == [pytest.approx(sum(moved(own, ids(3), list(first), list(later))), rel=1e-4)]


def test_replacements_do_not_touch_each_other_or_the_subject() -> None:
    own = subject()
    values = [[0.0] * 4, truth(3), [3.0] * 4]
    together = moved(own, ids(3), *values)
    assert together == pytest.approx([moved(own, ids(3), row)[0] for row in values], rel=1e-5, abs=1e-9)
    assert moved(own, ids(3), truth(3)) == [pytest.approx(0, abs=1e-9)]


def test_prefix_tokens_are_fed_and_neither_replaced_nor_counted() -> None:
    hammer = ids(1)[1]
    plain, prefixed = subject(), subject(prefix=(hammer, hammer))
    # Attention contributes nothing here, so a prefix changes no other token's prediction.
    assert moved(prefixed, ids(3), [0.0] * 4) == pytest.approx(moved(plain, ids(3), [0.0] * 4), rel=1e-5)


@pytest.mark.parametrize("model_type", ["llama", "opt", "gpt2"])
@pytest.mark.parametrize("prefix", [(), (3,)])
def test_what_a_model_computes_itself_can_be_put_in_its_place(
    model_type: str, prefix: tuple[int, ...]
) -> None:
    own, tokens = subject(random_subject(model_type), prefix), [5, 9, 11, 4]
    site, read = own.sites()[1], []
    handle = site.module.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].clone()))
    with torch.inference_mode():
        own.model(input_ids=torch.tensor([[*prefix, *tokens]]), use_cache=False)
    handle.remove()
    activations = read[0].reshape(-1, site.neurons)[len(prefix) :, 7]
    for polarity in (1, -1):
        whole = Replacement(7, polarity, tuple((polarity * activations).tolist()))
        side = Replacement(7, polarity, tuple((polarity * activations).clamp(min=0).tolist()))
        far = Replacement(7, polarity, (4.0,) * 4)
        same, other = divergences(own, site, tokens, [whole, far], keeps_other_side=False)
        assert same == pytest.approx(0, abs=1e-9)
        assert other > 1e-6
        assert divergences(own, site, tokens, [side], keeps_other_side=True) == [pytest.approx(0, abs=1e-9)]


def test_a_model_without_logits_is_refused() -> None:
    model = planted_subject().transformer
    site = MLP_NEURONS.sites(planted_subject())[LAYER]
    with pytest.raises(SubjectError, match=r"tiny gives no logits.* take the ablation scorer out"):
        divergences(subject(model), site, ids(3), [Replacement(0, 1, (0.0,) * 4)], keeps_other_side=False)


def study(**given: Any) -> Study:
    return tiny_study(
        subject={"layers": 2, "neurons_per_layer": 16},
        corpus={"sequence_length": 4},
        scorers={"ablation": {"simulators": ["all_at_once"]}},
        scoring={"bootstrap_samples": 20},
        **given,
    )


def evidence(
    simulations: list[dict[str, Any]], of: Study | None = None, **changed: pl.DataFrame
) -> LayerEvidence:
    exemplars = [
        exemplar_row(
            neuron, sequence, truth(sequence, neuron), layer=LAYER, kind=kind, split=split, rank=sequence
        )
        for split, shown in (("valid", VALID), ("test", TEST))
        for kind, sequence in zip(("top", "random"), shown, strict=True)
        for neuron in (TOOLS, DAYS)
    ]
    entries = sorted(VOCABULARY, key=lambda entry: VOCABULARY[entry])
    means = [{"layer": LAYER, "neuron": neuron, "mean": MEAN} for neuron in (TOOLS, DAYS)]
    tables = {
        "corpus/sequences": sequence_table([ids(1), *(ids(sequence) for sequence in TEXTS)]),
        "corpus/vocabulary": vocabulary_table([token.encode() for token in entries]),
        "activations/statistics": filled(STATISTICS, *means),
        "neuron_records": NEURON_RECORDS.frame(exemplars),
        "sampled_activations": sampled_table(),
        "explanations": EXPLANATIONS.frame(
            [explanation_row(neuron, layer=LAYER, explanation_id=f"e{neuron}") for neuron in (TOOLS, DAYS)]
        ),
        "simulations": SIMULATIONS.frame(simulations),
    }
    return LayerEvidence(of or study(), LAYER, tables | changed)


def simulation(of: str, neuron: int, sequence: int, values: list[float]) -> dict[str, Any]:
    return simulation_row(of, neuron, sequence, values, split="valid" if sequence in VALID else "test")


def oracle(neuron: int = TOOLS, sequences: tuple[int, ...] = VALID + TEST) -> list[dict[str, Any]]:
    """Simulations of 0 and 10 that a line turns into the truth."""
    return [
        simulation(f"e{neuron}", neuron, own, [10 * value / STRONG for value in truth(own, neuron)])
        for own in sequences
    ]


def ablations(
    simulations: list[dict[str, Any]],
    calls: MemoryCalls | None = None,
    progress: SilentProgress | None = None,
) -> pl.DataFrame:
    return asyncio.run(
        ablated_layer(
            evidence(simulations),
            subject=subject(),
            calls=calls or MemoryCalls(),
            progress=progress or SilentProgress(),
        )
    )


def score(
    simulations: list[dict[str, Any]], of: str = "e0", regime: str = "top_and_random"
) -> dict[str, Any]:
    own = evidence(simulations, ablations=ablations(simulations))
    table = SCORES.checked(scored_layer(own, encoders=NoEncoders(), progress=SilentProgress()))
    return table.filter(explanation_id=of, scorer="ablation_all_at_once", regime=regime).row(0, named=True)


def test_an_oracle_scores_one_on_either_regime() -> None:
    for regime, n in (("top_and_random", 2), ("random_only", 1)):
        row = score(oracle(), regime=regime)
        assert (row["value"], row["n_sequences"], row["n_tokens"]) == (pytest.approx(1, abs=1e-6), n, 4 * n)


def test_the_mean_scores_nothing() -> None:
    # On valid the neuron is 6 at 3 of 8 tokens; a constant simulation becomes the mean of that, 2.25
    flat = [simulation("e0", TOOLS, sequence, [4.0] * 4) for sequence in VALID + TEST]
    for divergence in ablations(flat).iter_rows(named=True):
        (wanted,) = moved(subject(), ids(divergence["sequence_id"]), [2.25] * 4)
        assert divergence["simulated_divergence"] == divergence["mean_divergence"] == pytest.approx(wanted)
    assert score(flat)["value"] == 0


def test_a_simulation_of_the_opposite_becomes_the_mean_and_no_oracle() -> None:
    opposite = [
        simulation("e0", TOOLS, own, [10 - 10 * value / STRONG for value in truth(own)])
        for own in VALID + TEST
    ]
    flat = [simulation("e0", TOOLS, sequence, [4.0] * 4) for sequence in VALID + TEST]
    assert ablations(opposite).equals(ablations(flat))


def test_the_control_is_ablated_on_the_neurons_sequences_and_stands_beside_the_score() -> None:
    control = [simulation("e1", TOOLS, own, [10 * v / STRONG for v in truth(own, DAYS)]) for own in TEST]
    row = score([*oracle(), *control])
    assert row["value"] == pytest.approx(1, abs=1e-6)
    assert row["control"] < 0.5


def test_what_was_not_simulated_on_valid_or_cannot_be_read_is_not_ablated_and_says_so() -> None:
    unread = simulation("e0", TOOLS, 1, [float("nan")] * 4)
    for simulations in ([], oracle(sequences=TEST), [unread, *oracle(sequences=TEST)]):
        row = score(simulations)
        assert (row["value"], row["null_reason"]) == (None, "not ablated, for want of readable simulations")


@pytest.mark.parametrize("rounding", [0.0, 3e-16])
def test_a_neuron_that_writes_nothing_has_no_score(rounding: float) -> None:
    from neuroscribe.score.ablations import Ablations
    from neuroscribe.study.dues import dues

    sizes = {"simulated_divergence": rounding / 2, "mean_divergence": rounding}
    rows = filled(
        ABLATIONS,
        *({"explanation_id": "e0", "neuron": TOOLS, "sequence_id": own} | sizes for own in TEST),
    )
    due = next(due for due in dues(study()) if due.measure == "ablation")
    row = Ablations(evidence(oracle(), ablations=rows)).rows(due)[0]
    assert (row["value"], row["null_reason"]) == (None, "ablation to the mean changes nothing")


def test_a_killed_run_measures_only_the_sequences_that_are_missing() -> None:
    calls = MemoryCalls()
    with pytest.raises(Interrupted):
        ablations(oracle(), calls, SilentProgress(fail_at=2))
    assert len(calls.answers) == 2
    kept = dict(calls.answers)
    whole = ablations(oracle(), calls)
    assert calls.answers == kept
    assert whole.equals(ablations(oracle()))


def test_both_sides_take_the_mean_of_the_explained_one_over_all_that_was_kept() -> None:
    both = study(capture={"polarities": "both"})
    kept = sampled_table({1: [-2.0, 5.0], 4: [-6.0, -4.0]}, neuron=0)
    assert mean_activation(evidence([], both, sampled_activations=kept), (0, -1)) == 3.0
    assert mean_activation(evidence([]), (TOOLS, 1)) == MEAN
