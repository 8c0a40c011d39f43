"""The simulator `all_at_once` of the paper: one pass reads the digits at every token of a sequence.

A server echoes a prompt whose values are hidden, with their log-probabilities. A model in this process
reads many sequences side by side. Asked (see `Asked`), a row holds the sequence as running text, then one
short question per token. An attention mask lets each question see the explanation and the whole text, but
no other question, so that answers do not drift along the text (a small model that reads hidden values one
after the other mostly repeats itself).

Values run from 0 to 9, each a token of its own, and are stretched to 0..10: many tokenizers split "10".
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from neuroscribe.errors import CapabilityError
from neuroscribe.llm.calls import Request
from neuroscribe.ports.models import LLM, PromptScorer, Simulator
from neuroscribe.ports.replies import EchoedPrompt, ReadingStatus, Simulated, Usage
from neuroscribe.ports.rows import Row, RowReader
from neuroscribe.ports.sources import Models
from neuroscribe.simulate.distribution import (
    digit_probabilities,
    expected_activations,
    expected_reading,
    without_values,
)
from neuroscribe.simulate.prompts import (
    ASKING,
    DIGITS,
    HIDDEN,
    QUESTION,
    asked_beginning,
    asked_opening,
    hidden_beginning,
    hidden_opening,
    hidden_prompt,
    prompt_identities,
    prompt_identity,
)
from neuroscribe.simulate.simulator import Simulating
from neuroscribe.study.sections import Capability
from neuroscribe.text.escaping import escaped

LocalLayout = Literal["asked", "hidden"]
Questions = Literal["tokens", "places"]
BEFORE = 3
"""Tokens before a place that a question about it repeats."""
MOST_BEFORE = 8
"""Those that it repeats at most, where fewer do not tell the place from another."""


class AllAtOnce(Simulating):
    """The paper's simulator: one pass reads a digit distribution at every token."""

    needs: ClassVar[Capability | None] = "prompt_logprobs"

    kind: Literal["all_at_once"] = "all_at_once"
    layout: LocalLayout = Field(
        default="asked",
        description="what a model in this process is shown: asked (the text, then a question per token) or"
        " hidden (as in the paper); a server is always shown hidden",
    )
    questions: Questions = Field(
        default="tokens",
        # Left out where it is the default, so that identities from before it hold.
        exclude_if=lambda chosen: chosen == "tokens",
        description="what a model in this process is asked about in the layout asked: tokens (each distinct"
        " token of a sequence once, so that equal ones get one value) or places (each token where it stands)",
    )

    @model_validator(mode="after")
    def _asks(self) -> "AllAtOnce":
        if self.questions == "places" and self.layout == "hidden":
            raise ValueError(
                'questions = "places" asks about a text; take out layout = "hidden", which reads every place'
            )
        return self

    @property
    def wording(self) -> Mapping[str, str]:
        """The wordings of both layouts: which one is shown depends on the model."""
        return prompt_identities("places" if self.questions == "places" else "asked", "hidden")

    def check(self, llm: LLM) -> None:
        """Refuse a model in this process that cannot be read so."""
        if isinstance(llm, RowReader):
            LocalSimulator(llm, layout=self.layout, questions=self.questions)

    def simulator(self, models: Models) -> Simulator:
        """Return the one for a model in this process, or the one for a server that echoes prompts."""
        if isinstance(models.llm, RowReader):
            return LocalSimulator(models.llm, layout=self.layout, questions=self.questions)
        if isinstance(models.llm, PromptScorer):
            return EchoedSimulator(models.llm)
        raise self.unable(models.llm)

    def calls(self, tokens: int) -> int:
        """Return one."""
        return 1

    def requests(self, explanation: str, tokens: Sequence[bytes]) -> list[Request]:
        """Return the prompt for a server; a model in this process is shown about as much text."""
        return [(hidden_prompt(explanation, tokens)[0], 1)]


class EchoedSimulator:
    """Fulfils the `Simulator` port: one request a sequence, digits read at the hidden places."""

    keeps_calls = False
    sequences_per_call = 1

    def __init__(self, scorer: PromptScorer) -> None:
        self._scorer = scorer
        self.identity = f"{scorer.identity}; all at once, {prompt_identity('hidden')}"
        self.calls_at_once = scorer.calls_at_once

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return the expected activation at every token of every sequence."""
        return list(await asyncio.gather(*(self._reading(explanation, tokens) for tokens in sequences)))

    async def _reading(self, explanation: str, tokens: Sequence[bytes]) -> Simulated:
        prompt, places = hidden_prompt(explanation, tokens)
        try:
            echoed = await self._scorer.echoed(prompt)
        except CapabilityError as error:
            # The server was probed before the run: what it cannot do now has to do with this text.
            return replace(without_values(len(tokens), "failed"), raw=str(error))
        if echoed.status != "ok":
            return replace(without_values(len(tokens), echoed.status), raw=echoed.raw, usage=echoed.usage)
        return replace(_read(echoed, places, self._scorer.identity), usage=echoed.usage)


def _read(echoed: EchoedPrompt, places: Sequence[int], server: str) -> Simulated:
    """Return the reading at the hidden places, each found by its offset in the prompt.

    A place that begins no token has no value, for the server's tokenizer joins it to its neighbours; nor has
    a place for which no log-probabilities came. Raises CapabilityError where the tokenizer joins all of them.
    """
    token_at = {offset: index for index, offset in enumerate(echoed.offsets)}
    tops = [echoed.top_logprobs[token_at[place]] if place in token_at else None for place in places]
    if places and not any(top is not None for top in tops):
        raise CapabilityError(
            f"{server}: none of {len(places)} hidden values begins a token of the server's tokenizer; use"
            ' provider = "local" in [llm] or [simulator_llm], or the simulator matching_words'
        )
    probabilities = np.array([digit_probabilities(top or {}) for top in tops]).reshape(
        len(places), len(DIGITS)
    )
    return expected_reading(probabilities, [_status(top) for top in tops])


def _status(top: Mapping[str, float] | None) -> ReadingStatus:
    return "unparsable" if top is None else "ok" if top else "failed"


Encode = Callable[[str], list[int]]
"""Returns the token ids of a piece of plain text."""


@dataclass(frozen=True)
class Asked:
    """The text once, then a question about each distinct token or place; questions do not see each other.

    Questions about tokens repeat the token alone. One that recurs would be answered alike each time, and so
    is asked about once: no explanation can then reach more than .997, .942 and .896 (correlation; layers 0,
    10 and 20 of SmolLM2, top and random sequences of 64 tokens). Questions about places repeat the tokens
    before it, too, as many as tell it from others (BEFORE to MOST_BEFORE), and have no such limit, at more
    than twice the price: 384 tokens a sequence of 64 instead of 168 (Qwen2.5, English Wikipedia).
    """

    encode: Encode
    questions: Questions = "tokens"

    @property
    def identity(self) -> str:
        """Version and hash of the wording."""
        return prompt_identity(self._wording)

    @property
    def _wording(self) -> str:
        return "asked" if self.questions == "tokens" else "places"

    def beginning(self) -> list[int]:
        """Return the instruction and the worked examples."""
        return self.encode(asked_beginning(self._wording))

    def opening(self, explanation: str) -> list[int]:
        """Return what introduces one neuron's text."""
        return self.encode(asked_opening(explanation))

    def row(self, tokens: Sequence[bytes]) -> tuple[Row, list[int]]:
        """Return the text with its questions, and for each token the number of its slot."""
        texts = [escaped(token) for token in tokens]
        places = self.encode("".join(texts) + ASKING)
        asked = texts if self.questions == "tokens" else places_in_words(texts)
        distinct = {text: number for number, text in enumerate(dict.fromkeys(asked))}
        question, questions = self.encode(QUESTION), list[tuple[int, int]]()
        for text in distinct:
            start = len(places)
            places += self.encode(text) + question
            questions.append((start, len(places)))
        slots = [stop - 1 for _, stop in questions]
        return Row(places, slots, tuple(questions)), [distinct[text] for text in asked]


def places_in_words(texts: Sequence[str]) -> list[str]:
    """Return for each token of a text the words that end there, few as they may be to tell it from others.

    Places whose MOST_BEFORE tokens before are the same, too, get the same words.
    """
    words = [""] * len(texts)
    left = range(len(texts))
    for before in range(BEFORE, MOST_BEFORE + 1):
        ends = ["".join(texts[max(0, place - before) : place + 1]) for place in range(len(texts))]
        for place in left:
            words[place] = ends[place]
        counts = Counter(ends)
        left = [place for place in left if counts[ends[place]] > 1]
    return words


@dataclass(frozen=True)
class HiddenLines:
    """The paper's: a line per token whose value is hidden, read in one causal pass where the value stands."""

    encode: Encode
    identity: str = prompt_identity("hidden") + " by tabs"

    def beginning(self) -> list[int]:
        """Return the instruction and the worked examples."""
        return self._by_tabs(hidden_beginning())[0]

    def opening(self, explanation: str) -> list[int]:
        """Return what introduces one neuron's tokens; an explanation's own tabs are no places."""
        return self.encode(hidden_opening(explanation))

    def row(self, tokens: Sequence[bytes]) -> tuple[Row, list[int]]:
        """Return the lines up to the last token's tab, and for each token the number of its slot."""
        lines = f"{HIDDEN}\n".join(f"{escaped(token)}\t" for token in tokens)
        places, slots = self._by_tabs(lines)
        return Row(places, slots), list(range(len(slots)))

    def _by_tabs(self, text: str) -> tuple[list[int], list[int]]:
        """Return the ids of a text whose tabs are tokens of their own, and the place of each tab."""
        first, *others = text.split("\t")
        tab, places, slots = self.encode("\t"), self.encode(first), list[int]()
        for other in others:
            places += tab
            slots.append(len(places) - 1)
            places += self.encode(other) if other else []
        return places, slots


class LocalSimulator:
    """Fulfils the `Simulator` port with a model in this process.

    Raises CapabilityError for a model whose tokenizer or attention cannot be read so.
    """

    keeps_calls = False
    sequences_per_call = 16
    """Sequences that are read side by side; what is computed for one follows from those of its call."""
    calls_at_once = 1
    """Calls are computed here, one after the other."""

    def __init__(
        self, llm: RowReader, *, layout: LocalLayout = "asked", questions: Questions = "tokens"
    ) -> None:
        self._llm = llm
        self._digits = [self._one_token(digit) for digit in DIGITS]
        self._layout = Asked(llm.encode, questions) if layout == "asked" else HiddenLines(llm.encode)
        if layout == "asked":
            llm.check_questions(self._digits)
        self._beginning = [*llm.opening, *self._layout.beginning()]
        self.identity = f"{llm.identity}; all at once, {self._layout.identity}"

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
        readings: list[Simulated] = []
        for (row, slots), probabilities in zip(laid_out, read, strict=True):
            values, mass = expected_activations(probabilities[slots].double().numpy())
            usage = Usage(length + len(row.tokens), cached_tokens=length, cost_usd=0.0)
            readings.append(Simulated(tuple(values.tolist()), mass, usage=usage))
        return readings

    def _one_token(self, digit: str) -> int:
        ids = self._llm.encode(digit)
        if len(ids) != 1:
            raise CapabilityError(
                f"{self._llm.identity}: its tokenizer writes {digit!r} as {len(ids)} tokens, so a digit can"
                " not be read in one place; choose another model for [llm]"
            )
        return ids[0]
