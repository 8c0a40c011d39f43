"""A plan's number of calls is the number that a server then counts, for every kind that a study can name."""

import asyncio
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from neuroscribe.capture.connections import connections_of
from neuroscribe.capture.sampled import sampled_activations
from neuroscribe.capture.stage import captured, layer_records
from neuroscribe.capture.token_lookup import token_lookup
from neuroscribe.choose.choosing import questions as choice_questions
from neuroscribe.choose.judges import AskedChooser
from neuroscribe.choose.stage import chosen
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.sample import sampled_neurons, set_aside
from neuroscribe.explain.explainer import Before
from neuroscribe.explain.questions import questions as explanation_questions
from neuroscribe.explain.stage import explained_layer
from neuroscribe.judge.dealt import asked_calls
from neuroscribe.judge.judges import Judge
from neuroscribe.judge.judging import AskingJudge
from neuroscribe.judge.questions import questions as judgement_questions
from neuroscribe.judge.stage import judged
from neuroscribe.judge.together import AskedTogether
from neuroscribe.kinds import KnownStudy
from neuroscribe.llm.calls import Question
from neuroscribe.llm.capabilities import LLM_NEEDS
from neuroscribe.ports.models import LLM, Simulator
from neuroscribe.ports.replies import Usage
from neuroscribe.ports.sources import Models
from neuroscribe.report.ledger import ledger
from neuroscribe.report.plan import layer_plan, likely_tokens, plan_text
from neuroscribe.report.planned_calls import Asked, Found
from neuroscribe.simulate.questions import Question as SimulationQuestion
from neuroscribe.simulate.questions import questions as simulation_questions
from neuroscribe.simulate.questions import simulation_tasks
from neuroscribe.simulate.simulator import Simulating
from neuroscribe.simulate.stage import simulated as simulations
from neuroscribe.study.spec import Study
from neuroscribe.subject.subject import Subject
from neuroscribe.tables.effects import EFFECTS
from neuroscribe.testing.planted import LAYERS, NEURONS, planted_corpus, planted_subject, planted_tokenizer
from neuroscribe.testing.rows import filled
from neuroscribe.testing.servers import ScriptedServer
from neuroscribe.testing.stores import MemoryCalls, MemoryTensors, SilentProgress
from neuroscribe.text.corpus import tokenised
from neuroscribe.text.documents import Document
from neuroscribe.text.token_bytes import tokenizer_facts
from neuroscribe.write.questions import questions as writing_questions
from neuroscribe.write.stage import written
from neuroscribe.write.writing import Writing
from resources.llm.server import OpenAIServer
from tests.neuroscribe.simulate.answering import NoEncoders

pytestmark = pytest.mark.slow
LAYER, SAMPLED = 1, 5
KINDS = {table: KnownStudy.known_kinds(table) for table in ("explainers", "simulators", "scorers")}
# It needs an encoder; what it asks is counted in tests/neuroscribe/explain/test_parts_kinds.py.
del KINDS["explainers"]["senses"]
ASKING, SIMULATING, JUDGING = (
    sorted(name for name, kind in each.items() if kind.needs in LLM_NEEDS) for each in KINDS.values()
)
WRITING = [name for name in JUDGING if issubclass(KINDS["scorers"][name], Writing)]
JUDGING = [name for name in JUDGING if name not in WRITING]
Tables = Mapping[str, pl.DataFrame]


def study(explainers: dict[str, Any], simulators: dict[str, Any], scorers: dict[str, Any]) -> Study:
    return KnownStudy.model_validate(
        {
            "name": "planted",
            "description": "",
            "subject": {
                "model": "planted",
                "dtype": "float32",
                "layers": LAYERS,
                "neurons_per_layer": NEURONS,
            },
            "corpus": {"files": "x", "sequences": 60, "sequence_length": 16},
            "capture": {"random_sequences": 20, "random_exemplars": 12},
            "sample": {"neurons_per_layer": SAMPLED},
            "scoring": {"sequences_per_split": 2},
            "llm": {"provider": "openai", "model": "scripted"},
            "paraphraser_llm": {"provider": "openai", "model": "other"},
            "explainers": explainers,
            "simulators": simulators,
            "scorers": scorers,
        }
    )


DERIVED = {
    "revision": {"of": "token_pairs", "evidence": "random"},
    "paraphrase": {"of": "token_list", "share": 0.4},
}
EVERY = study(
    {
        **{kind: {"candidates": 2} for kind in ASKING if kind not in (*DERIVED, "auto")},
        **DERIVED,
        "long": {"kind": "token_pairs", "answer": "schema"},
        "token_list": {},
    },
    {
        **{kind: {"explainers": ["token_pairs", "highlights", "token_list"]} for kind in KINDS["simulators"]},
        "one_at_a_time": {"explainers": ["token_list"]},  # a call per token: of one text is enough
    },
    {
        **{kind: {"explainers": ["highlights", "token_list"]} for kind in (*JUDGING, *WRITING, "retrieval")},
        "together": {"kind": "detection", "explainers": ["highlights", "token_list"], "per_call": 3},
        "steering": {"explainers": ["output_tokens"]},
    },
)


SCORING = {**dict.fromkeys((*JUDGING, "together"), "judgement"), **dict.fromkeys(WRITING, "sentence")}
"""The stage of each scorer that asks."""


class Different:
    """Says something else every time."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def reply(self, prompt: str) -> str:
        del prompt
        return f"subject {next(self._numbers)}"

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        return [len(explanation) % 9] * len(tokens)


class Opened:
    """Opens one model, whatever is asked for, and no encoder."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    def open(self, *_: Any, **__: Any) -> Any:
        return self._llm


def effects(neurons: Sequence[tuple[int, int]]) -> pl.DataFrame:
    """What neurons do that each do something of their own: most of the sampled ones write nothing."""
    said = [
        (kind, rank)
        for kind, count in (("promoted", 5), ("suppressed", 5), ("continuation", EVERY.amplifying.prompts))
        for rank in range(count)
    ]
    rows = [
        {
            "neuron": n,
            "polarity": p,
            "kind": kind,
            "rank": rank,
            "token_id": first,
            "token_ids": [first, first],
        }
        for place, (n, p) in enumerate(neurons)
        for kind, rank in said
        for first in [20 * place + rank]
    ]
    return filled(EFFECTS, *rows)


@pytest.fixture(scope="module")
def tables() -> Tables:
    """The tables of a layer, captured from the planted subject."""
    import torch

    facts = tokenizer_facts(planted_tokenizer())
    documents = [Document(f"{place}", text) for place, text in enumerate(planted_corpus(40, seed=1))]
    corpus = tokenised(documents, facts, EVERY.corpus)
    subject = Subject(
        model=planted_subject(), tokenizer=facts, name="planted", revision="1", dtype=torch.float32,
        device=torch.device("cpu"), prefix_ids=(), batch_tokens=4096,
    )  # fmt: skip
    store, progress = MemoryTensors(), SilentProgress()
    done = captured(EVERY, subject, corpus.sequences, layers=[LAYER], store=store, progress=progress)
    sampled = sampled_activations(EVERY, subject, corpus.sequences, done.statistics, progress=progress)
    known = {
        "corpus/sequences": corpus.sequences,
        "corpus/vocabulary": corpus.vocabulary,
        "activations/statistics": done.statistics[LAYER],
    }
    shown = LayerEvidence(EVERY, LAYER, known)
    return {
        **known,
        "effects": effects(shown.neurons),
        "neuron_records": layer_records(EVERY, LAYER, corpus.sequences, store),
        "sampled_activations": sampled[LAYER],
        "token_lookup": token_lookup(sampled[LAYER], corpus.sequences, LAYER, EVERY.polarities),
        "connections": connections_of(subject, layers=[LAYER], progress=progress).frames[LAYER],
    }


def statistics(tables: Tables) -> Tables:
    """What is there of a layer whose records are not made yet."""
    return {"activations/statistics": tables["activations/statistics"]}


def cost(usage: Usage) -> float:
    return usage.prompt_tokens + 100.0 * usage.completion_tokens


def planned(found: Found, **options: Any) -> dict[str, dict[str, Any]]:
    asked = Asked(cost)
    plan = layer_plan(EVERY, LAYER, found, **{"explaining": asked, "simulating": asked, **options})
    return {row["stage"] + " " + row["name"]: row for row in plan.iter_rows(named=True)}


def simulating(kind: str) -> Simulating:
    spec = EVERY.simulators[kind]
    assert isinstance(spec, Simulating)
    return spec


def simulators(llm: OpenAIServer, calls: MemoryCalls) -> dict[str, Simulator]:
    models = Models(llm, Opened(llm), calls, SilentProgress())
    return {kind: simulating(kind).simulator(models) for kind in SIMULATING}


def explained(own: Study, tables: Tables, llm: OpenAIServer, calls: MemoryCalls) -> pl.DataFrame:
    shown = LayerEvidence(own, LAYER, tables)
    return asyncio.run(
        explained_layer(shown, llm=Opened(llm), encoders=NoEncoders(), calls=calls, progress=SilentProgress())
    )


def simulated(kind: str, tables: Tables, llm: OpenAIServer, calls: MemoryCalls) -> None:
    evidence, asked = LayerEvidence(EVERY, LAYER, tables), simulators(llm, calls)
    # Which sequences are near a label a plan does not know: here those that it takes for them are.
    tasks = {kind: simulation_tasks(evidence, kind, lambda _: np.zeros(len(evidence.kept_ids)))}
    asyncio.run(simulations(evidence, tasks, simulators=asked, calls=calls, progress=SilentProgress()))


def judge_of(name: str, llm: OpenAIServer, calls: MemoryCalls) -> Judge | AskedTogether:
    spec = EVERY.judging[name]
    assert isinstance(spec, AskingJudge)
    return spec.judge(Models(llm, Opened(llm), calls, SilentProgress()), by_first_token=True)


def judged_by(name: str, tables: Tables, llm: OpenAIServer, calls: MemoryCalls) -> None:
    """Have a scorer's questions answered: those of a judge, or those of a writer."""
    evidence = LayerEvidence(EVERY, LAYER, tables)
    if name in WRITING:
        asyncio.run(written(evidence, name, llm, calls, SilentProgress()))
        return
    asked = judgement_questions(evidence, name)
    asyncio.run(judged(EVERY, name, asked, judge_of(name, llm, calls), SilentProgress()))


def chosen_by(name: str, tables: Tables, llm: OpenAIServer, calls: MemoryCalls) -> AskedChooser:
    chooser = AskedChooser(llm, [name], calls)
    asked = choice_questions(LayerEvidence(EVERY, LAYER, tables), name)
    asyncio.run(chosen(EVERY, name, asked, chooser, SilentProgress()))
    return chooser


def test_planned_calls_are_those_that_the_server_counts(tables: Tables) -> None:
    before, calls = planned(Found(tables)), MemoryCalls()
    with ScriptedServer(Different()) as server:
        llm = OpenAIServer("scripted", base_url=server.base_url)
        made = explained(EVERY, tables, llm, calls)
        explaining = [row["calls"] for name, row in before.items() if name.startswith("explanation")]
        # The check before a run asks one tiny question of each form.
        checks = sum("Say yes." in json.dumps(body) for _, body in server.calls)
        assert len(server.calls) - checks == sum(explaining) > 0
        assert checks == 3
        for explainer in EVERY.explainers:
            asked = made.filter(pl.col("explainer") == explainer, pl.col("model") != "none")
            assert before[f"explanation {explainer}"]["calls"] == len(asked)
        there = {**tables, "explanations": made}
        after = planned(Found(there))
        for kind in SIMULATING:
            counted = len(server.calls)
            simulated(kind, there, llm, calls)
            counted = len(server.calls) - counted
            expected = before[f"simulation {kind}"]["calls"]
            assert after[f"simulation {kind}"]["calls"] == expected
            if kind == "one_at_a_time":  # sequences that begin alike share their first questions
                assert 0.8 * expected < counted <= expected
            else:
                assert 0.9 * expected < counted <= expected
        counted = len(server.calls)
        for name, stage in SCORING.items():
            judged_by(name, there, llm, calls)
            expected = before[f"{stage} {name}"]["calls"]
            assert after[f"{stage} {name}"]["calls"] == len(server.calls) - counted == expected > 0
            counted = len(server.calls)
        chooser = chosen_by("steering", there, llm, calls)
        expected = before["choice steering"]["calls"]
        assert after["choice steering"]["calls"] == len(server.calls) - counted == expected > 0
        # All is answered now, and nothing is left to be asked.
        explainers = {("explanation", name): [llm.identity] for name in EVERY.explainers}
        own = {
            ("simulation", name): [simulator.identity] for name, simulator in simulators(llm, calls).items()
        }
        judges = {
            (stage, name): [llm.identity if name in WRITING else judge_of(name, llm, calls).identity]
            for name, stage in SCORING.items()
        }
        choosers = {("choice", "steering"): [chooser.identity]}
        asked = Asked(cost, {**explainers, **own, **judges, **choosers})
        left = planned(Found(there), explaining=asked, simulating=asked, calls=calls)
    # But controls that were not needed, for one of the first was as good.
    spared = {name: row["calls"] if name.startswith("simulation") else 0 for name, row in left.items()}
    assert all(calls <= 0.1 * before[name]["calls"] for name, calls in spared.items())
    assert {name: row["calls"] for name, row in left.items()} == spared
    assert {name: row["answered"] + spared[name] for name, row in left.items()} == {
        name: row["calls"] for name, row in before.items()
    }
    # The ledger has them all, by stage.
    counts = ledger(calls)["stage"].value_counts()
    stages = dict(counts.rows())
    assert stages["explanation"] == sum(explaining)
    assert sum(stages.values()) == len(server.calls) - checks


def keys(questions: Sequence[Question], identity: str) -> set[str]:
    """The keys of what is asked; of a mute neuron nothing is."""
    return {question.key(identity) for question in questions if question.n_calls}


def test_the_questions_that_a_plan_counts_are_those_that_a_run_asks(tables: Tables) -> None:
    def fresh() -> MemoryCalls:
        """A store in which nothing is answered."""
        stores.append(MemoryCalls())
        return stores[-1]

    stores: list[MemoryCalls] = []
    with ScriptedServer(Different()) as server:
        llm = OpenAIServer("scripted", base_url=server.base_url)
        made: list[pl.DataFrame] = []
        for name, spec in EVERY.explainers.items():
            if name in DERIVED:  # what they ask rests on what others have said
                continue
            of_input = name if spec.half == "input" else "beside"  # effects are not simulated
            who = {"all_at_once": {"explainers": [of_input]}}
            beside = {} if spec.half == "input" else {"beside": {"kind": "token_list"}}
            own = study({name: spec.model_dump(), **beside}, who, {})
            rows = explained(own, tables, llm, fresh())
            made.append(rows.filter(explainer=name))
            listed = keys(
                explanation_questions(LayerEvidence(EVERY, LAYER, tables), name, Before()), llm.identity
            )
            assert listed == set(stores[-1].keys()), name
            assert bool(listed) == (name != "token_list")
        there = {**tables, "explanations": pl.concat(made)}
        evidence = LayerEvidence(EVERY, LAYER, there)
        for kind in SIMULATING:
            counted = len(server.calls)
            simulated(kind, there, llm, fresh())
            counted = len(server.calls) - counted
            identity = simulators(llm, MemoryCalls())[kind].identity
            listed = keys(simulation_questions(evidence, kind), identity)
            stored = set(stores[-1].keys())
            assert len(listed) > 0
            if kind == "one_at_a_time":  # each answer about a token is stored, too, under a key of its own
                assert len(stored - listed) == counted
            else:
                assert stored <= listed, kind
            # Controls beyond the first are asked about where none of these was as good.
            assert len(listed - stored) < 0.1 * len(listed), kind
        for name in SCORING:
            judged_by(name, there, llm, fresh())
            if name in WRITING:
                listed = keys(writing_questions(evidence, name), llm.identity)
            else:
                listed = keys(asked_calls(evidence, name), judge_of(name, llm, MemoryCalls()).identity)
            assert listed == set(stores[-1].keys()) != set(), name


def test_what_is_there_and_current_is_not_planned_again(tables: Tables) -> None:
    before = planned(Found(tables))
    current = frozenset({"explanations", "judgements"})
    after = planned(Found(tables, current))
    for name, row in after.items():
        is_done = not name.startswith(("simulation", "sentence", "choice"))
        assert row["calls"] == (0 if is_done else before[name]["calls"]), name
        assert row["answered"] == (before[name]["calls"] if is_done else 0), name


def test_tokens_and_money_are_at_most_what_is_said(tables: Tables) -> None:
    plan, facts = planned(Found(tables)), tables["activations/statistics"]
    pairs = plan["explanation token_pairs"]
    neurons = len(sampled_neurons(EVERY, LAYER, facts))
    assert pairs["neurons"] == neurons
    assert pairs["calls"] == 2 * neurons
    assert pairs["completion_tokens"] == 2 * neurons * 60
    # One neuron is explained from two more draws of exemplars by the explainer that writes one text.
    assert plan["explanation long"]["completion_tokens"] == (neurons + 2) * 800
    assert pairs["cost_usd"] == pairs["prompt_tokens"] + 100 * pairs["completion_tokens"]
    assert pairs["set_aside"] == len(set_aside(EVERY, LAYER, facts))
    assert 0.3 < pairs["shared"] < 1
    assert plan["simulation embedding"]["calls"] == plan["explanation token_list"]["calls"] == 0


def test_without_a_capture_the_studys_numbers_stand_in(tables: Tables) -> None:
    guess, known = planned(Found()), planned(Found(tables))
    assert guess["explanation highlights"]["calls"] == 2 * SAMPLED
    assert guess["explanation highlights"]["set_aside"] is None
    assert {row["known_from"] for row in guess.values()} == {"study", "no LLM"}
    for name, row in guess.items():
        # Never less than what turns out, and of its size, though some neurons of a small text fire seldom.
        assert known[name]["calls"] <= row["calls"] <= 5 * known[name]["calls"]
        if row["calls"]:
            per_call = row["prompt_tokens"] / row["calls"]
            assert per_call == pytest.approx(known[name]["prompt_tokens"] / known[name]["calls"], rel=0.5)
    counted = planned(Found(statistics(tables)))["explanation highlights"]
    assert (counted["calls"], counted["known_from"]) == (
        known["explanation highlights"]["calls"],
        "statistics",
    )


def test_without_a_capture_every_judge_and_every_control_is_planned() -> None:
    long = EVERY.model_copy(update={"corpus": EVERY.corpus.model_copy(update={"sequence_length": 64})})
    asked = Asked(cost)
    plan = layer_plan(long, LAYER, Found(), explaining=asked, simulating=asked)
    calls = dict(plan.select("name", "calls").iter_rows())
    # Two splits of the one with two candidates, one of the list, and a control of each, on a firing and a
    # silent excerpt (or one marked rightly and wrongly) of every top exemplar.
    texts, excerpts = (2 * 2 + 1) + (1 + 1), 2 * long.scoring.sequences_per_split
    assert calls["fuzzing"] == SAMPLED * texts * excerpts
    # A silent excerpt is asked about as far as there is one among those drawn; here each neuron may lack one.
    assert calls["fuzzing"] - SAMPLED <= calls["detection"] <= calls["fuzzing"]


def test_tokens_of_lists_are_counted_by_their_pieces_and_those_of_prose_by_its_length() -> None:
    assert likely_tokens(" dog\t?\n cat\t?\n") == 8
    assert likely_tokens("abcdefg") == 2


@pytest.mark.parametrize("kind", sorted(KINDS["simulators"]))
def test_a_kind_sends_as_many_requests_as_it_states(kind: str) -> None:
    spec, tokens = simulating(kind), [b" a", b" dog", b" ran"]
    assert len(spec.requests("dogs", tokens)) == spec.calls(3)
    five = SimulationQuestion("dogs", (tokens,) * 5, spec)
    assert len(five.requests()) == five.n_calls == 5 * spec.calls(3)


def test_a_simulator_that_does_not_state_its_calls_cannot_be_named() -> None:
    class Silent(Simulating):
        needs = "reply"

        def simulator(self, models: Models) -> Simulator:
            raise AssertionError

    with pytest.raises(TypeError, match="abstract"):
        Silent(explainers=("token_pairs",))


def test_the_plan_is_printed_with_a_total_and_unknown_prices_as_such(tables: Tables) -> None:
    asked, unknown = Asked(cost), Asked(lambda usage: None)
    plan = layer_plan(EVERY, LAYER, Found(tables), explaining=asked, simulating=unknown)
    lines = plan_text(plan, 132).splitlines()
    assert lines[0].split()[:3] == ["layer", "name", "neurons"]
    total = next(line for line in lines if line.split()[:1] == ["all"]).split()
    assert f"{plan['calls'].sum():,}" in total
    assert "$" not in " ".join(total)
