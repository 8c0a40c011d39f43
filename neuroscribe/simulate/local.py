"""The all-at-once simulator in-process: digit probabilities at every token in one forward pass."""

from collections.abc import Sequence
from typing import Any

from neuroscribe.errors import CapabilityError
from neuroscribe.fingerprint import fingerprint
from neuroscribe.local_llm import LocalLLM
from neuroscribe.ports import Simulated
from neuroscribe.simulate.distribution import expected_activations
from neuroscribe.simulate.prompts import DIGITS, HIDDEN, hidden_line, opening, simulation_prompt


class LocalSimulator:
    """Fulfils the `Simulator` port; places are known by position, never parsed out of text."""

    def __init__(self, llm: LocalLLM, *, sequences_per_call: int = 5) -> None:
        self._llm = llm
        self._sequences_per_call = sequences_per_call
        self._prompt = simulation_prompt()
        self._digits = [self._one_token(digit) for digit in DIGITS]
        self._explanation: tuple[str, Any] | None = None

    @property
    def identity(self) -> str:
        """Model, prompt and how many sequences share a pass."""
        prompt = fingerprint(self._prompt.version, self._prompt.beginning)[:12]
        return f"{self._llm.identity}; all at once, prompt {prompt}, {self._sequences_per_call} per pass"

    @property
    def sequences_per_call(self) -> int:
        """Sequences that share one forward pass."""
        return self._sequences_per_call

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return the expected activation at every token of every sequence."""
        rows, slots = zip(*(self._row(tokens) for tokens in sequences), strict=True)
        read = self._llm.slot_probabilities(self._opened(explanation), rows, slots, self._digits)
        simulated: list[Simulated] = []
        for probabilities in read:
            values, mass = expected_activations(probabilities.double().numpy())
            simulated.append(Simulated(tuple(values.tolist()), mass))
        return simulated

    def _opened(self, explanation: str) -> Any:
        """Return the cache of the prompt up to the first token; kept while the explanation stays the same."""
        if self._explanation is None or self._explanation[0] != explanation:
            cache, _ = self._llm.prefix(self._prompt.beginning)
            self._explanation = explanation, self._llm.extended(cache, self._llm.encode(opening(explanation)))
        return self._explanation[1]

    def _row(self, tokens: Sequence[bytes]) -> tuple[list[int], list[int]]:
        """Return the token ids of a sequence's lines, and where the digit would follow."""
        row: list[int] = []
        slots: list[int] = []
        for token in tokens:
            before, after = hidden_line(token)
            row += self._llm.encode(before.removesuffix("\t")) + self._llm.encode("\t")
            slots.append(len(row) - 1)
            row += self._llm.encode(after)
        return row, slots

    def _one_token(self, digit: str) -> int:
        ids = self._llm.encode(digit)
        if len(ids) != 1:
            raise CapabilityError(
                f"{self._llm.identity}: its tokenizer writes {digit!r} (and {HIDDEN!r} beside it) as {len(ids)}"
                " tokens, so digits cannot be read in one place; choose another model for [llm]"
            )
        return ids[0]
