"""Layers that other runs will ask for go through the corpus with those of this one."""

from pathlib import Path

import pytest
import torch

from neuroscribe.capture.stage import Captured, captured
from neuroscribe.kinds import read_study
from neuroscribe.subject.subject import Subject
from neuroscribe.testing.planted import planted_corpus, planted_subject, planted_tokenizer
from neuroscribe.testing.planted_study import write_planted_study
from neuroscribe.testing.stores import MemoryTensors, SilentProgress
from neuroscribe.text.corpus import tokenised
from neuroscribe.text.documents import Document
from neuroscribe.text.token_bytes import tokenizer_facts

SEQUENCES = 120


class Bench:
    """A planted study of two layers, a store, and the passes that were made."""

    def __init__(self, folder: Path) -> None:
        path = write_planted_study(folder, base_url="http://x/v1", sequences=SEQUENCES, documents=1)
        facts = tokenizer_facts(planted_tokenizer())
        self.study, self.store = read_study(path), MemoryTensors()
        documents = [Document(str(n), text) for n, text in enumerate(planted_corpus(60, seed=1))]
        self.subject = Subject(
            model=planted_subject().eval(),
            tokenizer=facts,
            name="planted",
            revision="r",
            dtype=torch.float32,
            device=torch.device("cpu"),
        )
        self.sequences = tokenised(documents, facts, self.study.corpus).sequences
        self.passes = 0

    def capture(self, layer: int, *, beside: tuple[int, ...] = ()) -> Captured:
        progress = SilentProgress()
        done = captured(
            self.study, self.subject, self.sequences, layers=[layer], beside=beside, store=self.store,
            progress=progress,
        )  # fmt: skip
        self.passes += progress.done.get("capture planted", 0) // SEQUENCES
        return done


@pytest.fixture
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("planted"))


def test_the_first_run_captures_what_others_ask_for_and_these_find_it_done(bench: Bench) -> None:
    first = bench.capture(0, beside=(0, 1))
    assert (list(first.statistics), first.before, first.in_pass) == ([0], (), 2)
    second = bench.capture(1, beside=(0, 1))
    assert (list(second.statistics), second.before, second.in_pass) == ([1], (1,), 0)
    assert bench.passes == 1


def test_its_results_are_those_of_a_pass_of_its_own(bench: Bench) -> None:
    bench.capture(0, beside=(1,))
    together = bench.capture(1).statistics[1]
    bench.store = MemoryTensors()
    alone = bench.capture(1)
    assert (alone.in_pass, bench.passes) == (1, 2)
    assert alone.statistics[1].equals(together)


def test_a_run_whose_own_layers_are_finished_begins_no_pass_for_others(bench: Bench) -> None:
    bench.capture(0)
    again = bench.capture(0, beside=(1,))
    assert (again.before, again.in_pass, bench.passes) == ((0,), 0, 1)
