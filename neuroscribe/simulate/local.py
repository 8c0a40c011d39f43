"""The all-at-once simulator in this process: one pass reads the digits at every token of many sequences.

Asked (see `local_layouts`), a row holds the sequence as running text, then one short question per token. An
attention mask lets each question see the explanation and the whole text, but no other question, so that
answers do not drift along the text (a small model that reads hidden values one after the other mostly repeats
itself).

Values run from 0 to 9, each a token of its own, and are stretched to 0..10: many tokenizers split "10".
"""

from collections.abc import Sequence

from neuroscribe.errors import CapabilityError
from neuroscribe.local_llm import LocalLLM
from neuroscribe.replies import Simulated, Usage
from neuroscribe.simulate.distribution import expected_activations
from neuroscribe.simulate.local_layouts import Asked, HiddenLines, Layout
from neuroscribe.simulate.prompts import DIGITS
from neuroscribe.simulate.specs import LocalLayout


class LocalSimulator:
    """Fulfils the `Simulator` port with a model in this process.

    Raises CapabilityError for a model whose tokenizer or attention cannot be read so.
    """

    keeps_calls = False

    def __init__(self, llm: LocalLLM, *, layout: LocalLayout = "asked") -> None:
        self._llm = llm
        self._digits = [self._one_token(digit) for digit in DIGITS]
        self._layout: Layout = Asked(llm.encode) if layout == "asked" else HiddenLines(llm.encode)
        if layout == "asked":
            llm.check_questions(self._digits)
        self._beginning = [*llm.opening, *self._layout.beginning()]

    @property
    def identity(self) -> str:
        """Model and prompt."""
        return f"{self._llm.identity}; all at once, {self._layout.identity}"

    @property
    def sequences_per_call(self) -> int:
        """Sequences that are read side by side; what is computed for one follows from those of its call."""
        return 16

    @property
    def calls_at_once(self) -> int:
        """One: calls are computed here, one after the other."""
        return 1

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return the expected activation at every token of every sequence.

        The prefix is counted as cached for every sequence, whether or not an earlier call had made it.
        """
        opening = self._layout.opening(explanation)
        length = len(self._beginning) + len(opening)
        laid_out = [self._layout.row(tokens) for tokens in sequences]
        read = self._llm.probabilities(
            self._llm.prefix(self._beginning, opening), [row for row, _ in laid_out], self._digits
        )
        found: list[Simulated] = []
        for (row, slots), probabilities in zip(laid_out, read, strict=True):
            values, mass = expected_activations(probabilities[slots].double().numpy())
            usage = Usage(length + len(row.tokens), cached_tokens=length, cost_usd=0.0)
            found.append(Simulated(tuple(values.tolist()), mass, usage=usage))
        return found

    def _one_token(self, digit: str) -> int:
        ids = self._llm.encode(digit)
        if len(ids) != 1:
            raise CapabilityError(
                f"{self._llm.identity}: its tokenizer writes {digit!r} as {len(ids)} tokens, so a digit can"
                " not be read in one place; choose another model for [llm]"
            )
        return ids[0]
