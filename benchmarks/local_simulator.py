"""What the simulator in this process costs beside the bare forward pass, and beside requests one by one.

The model has the proportions of Qwen2-0.5B and random weights: speed does not depend on the values, and
nothing is downloaded. Times are processor time on one thread, taken in turns in one run.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from benchmarks.alone import one_thread
from benchmarks.figures import Figure, figure
from neuroscribe.llm.local import LocalLLM
from neuroscribe.llm.local_reading import batches, inputs
from neuroscribe.ports.rows import Row
from neuroscribe.simulate.all_at_once import Asked, LocalSimulator
from neuroscribe.simulate.prompts import asked_beginning
from neuroscribe.testing.random_subjects import random_subject

SEQUENCES, LENGTH, REPEATS, PLACES = 10, 64, 5, 4096
SHAPE: dict[str, Any] = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 3,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 18992,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
"""Qwen2-0.5B with an eighth of its layers and of its vocabulary: the head keeps its share of the work."""
EXPLANATION = "words for weather"


class WordTokenizer:
    """Words, line breaks and signs are tokens, as most are to a real tokenizer; numbered as they come."""

    eos_token_id = None

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def encode(self, text: str, **_: object) -> list[int]:
        """Return the numbers of a text's words."""
        pieces = re.findall(r" ?[^\W\d]+|\n+|\s|[^\w\s]+|\d", text)
        return [self._known.setdefault(piece, len(self._known)) for piece in pieces]


def local_simulator_figures() -> Iterator[Figure]:
    """Yield the figures of the simulator in this process."""
    bench = Bench()
    with one_thread(), torch.inference_mode():
        rounds = timed([bench.simulate, bench.bare, bench.requests, bench.request_of_one_token])
    yield from figures(rounds, bench.tokens())


class Bench:
    """One model and some sequences, simulated in several ways."""

    def __init__(self) -> None:
        self._model = random_subject("qwen2", **SHAPE)
        llm = LocalLLM(self._model, WordTokenizer(), identity="random", batch_places=PLACES)
        layout = Asked(llm.encode)
        self._simulator, self._sequences = LocalSimulator(llm), random_texts()
        self._rows = [layout.row(tokens)[0] for tokens in self._sequences]
        self._prefix = [*layout.beginning(), *layout.opening(EXPLANATION)]
        self._round = 0

    def tokens(self) -> tuple[int, int]:
        """Return the tokens of the shared prefix and of all rows."""
        return len(self._prefix), sum(len(row.tokens) for row in self._rows)

    def simulate(self) -> None:
        """Read all sequences under an explanation that is new, whose prefix is therefore new in part."""
        self._round += 1
        asyncio.run(self._simulator.simulate(f"{EXPLANATION} {self._round}", self._sequences))

    def bare(self) -> None:
        """Run the same rows in the same batches through the backbone: no prefix, mask, logits or cache."""
        for batch in batches(self._rows, PLACES):
            ids = inputs(batch, 0, device=self._model.device, dtype=self._model.dtype)["input_ids"]
            self._model.base_model(input_ids=ids, use_cache=False)

    def requests(self) -> None:
        """Read one sequence after the other, each with its whole prompt."""
        for row in self._rows:
            self._echo(row)

    def request_of_one_token(self) -> None:
        """Ask about the first token of the first sequence in a prompt of its own."""
        stop = self._rows[0].questions[0][1]
        self._echo(Row(self._rows[0].tokens[:stop], ()))

    def _echo(self, row: Row) -> None:
        """Compute what a request without a cache does: the whole prompt, and logits at every place of it."""
        after = len(self._prefix)
        questions = [(start + after, stop + after) for start, stop in row.questions]
        whole = Row([*self._prefix, *row.tokens], (), tuple(questions))
        self._model(**inputs([whole], 0, device=self._model.device, dtype=self._model.dtype), use_cache=False)


def figures(rounds: Sequence[Sequence[float]], tokens: tuple[int, int]) -> Iterator[Figure]:
    """Yield what follows from the seconds of a simulation, the bare pass, all requests and one of a token.

    `tokens` of the shared prefix and of all rows tell by how much caching the prefix could be faster at most.
    """
    prefix, rows = tokens
    most = f"; {1 + SEQUENCES * prefix / rows:.1f} by the tokens alone"
    detail = ", float32, one thread, Qwen2-0.5B's proportions with 3 layers"
    ratios = [bare / ours for ours, bare, _, _ in rounds]
    whole = [requests / ours for ours, _, requests, _ in rounds]
    singly = [token * SEQUENCES * LENGTH / ours for ours, _, _, token in rounds]
    yield figure(
        "simulate.local_ratio.cpu", ratios, "of the bare forward's tokens/s", n=SEQUENCES, detail=detail
    )
    yield figure(
        "simulate.prefix_cache_speedup", whole, "x a request per sequence", n=SEQUENCES, detail=detail + most
    )
    yield figure("simulate.one_pass_speedup", singly, "x a request per token", n=SEQUENCES, detail=detail)


def random_texts() -> list[list[bytes]]:
    """Return sequences of words, as frequent as words are: about 50 of 64 are distinct, as in real text."""
    words = list(dict.fromkeys(re.findall(r" [a-z]+", asked_beginning())))
    words += [f" word{'abcdefghij'[n // 26 % 10]}{chr(97 + n % 26)}" for n in range(260)]
    weights = 1 / (torch.arange(len(words)) + 2.7)
    drawn = torch.multinomial(
        weights.expand(SEQUENCES, -1), LENGTH, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    return [[words[index].encode() for index in row] for row in drawn.tolist()]


def timed(works: Sequence[Callable[[], None]]) -> list[list[float]]:
    """Return the seconds of processor time of each, taken in turns after one round to warm up."""
    rounds: list[list[float]] = []
    for _ in range(REPEATS + 1):
        row: list[float] = []
        for work in works:
            started = time.process_time()
            work()
            row.append(time.process_time() - started)
        rounds.append(row)
    return rounds[1:]
