"""The tree of a trace: plain values, so that it can be printed and written as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, cast

Row = Mapping[str, Any]
"""A row of a table, or some columns of one."""


@dataclass(frozen=True)
class Prompt:
    """One prompt, and what the call store holds of its call."""

    sha256: str
    """Hash of the messages below."""
    messages: tuple[tuple[str, str], ...]
    """Role and content of each."""
    key: str | None
    """Of its answer among the stored calls; None where none is found."""
    reply: str | None
    """As received; None where no answer is stored."""
    asked_for: Row
    """What the call was made for: the first to ask; empty where that is not stored."""


@dataclass(frozen=True)
class Sent:
    """What was sent to the model that wrote the explanation."""

    prompts: tuple[Prompt, ...]
    is_stored: bool
    """Whether the messages were read from the call store, and not only built anew."""
    is_verified: bool
    """Whether their hash is the one that stands beside the explanation."""
    is_rebuilt: bool | None
    """Whether the tables as they are now give the same hash; None where that could not be tried."""
    note: str
    """Why something is missing or differs; empty where all agrees."""


@dataclass(frozen=True)
class ShownSequence:
    """A sequence that the explainer saw; None is what the tables do not say."""

    sequence_id: int
    kind: str | None
    rank: int | None
    split: str | None
    peak: float | None
    text: str
    """Its tokens, escaped, with << >> around those that fire strongly."""
    document_id: int | None
    source: str | None


@dataclass(frozen=True)
class ReadSequence:
    """Simulated beside true activations on one sequence."""

    sequence_id: int
    split: str
    status: str
    tokens: tuple[str, ...]
    simulated: tuple[float | None, ...]
    """From 0 to 10; None for what could not be read."""
    true: tuple[float, ...]
    """On the explained side; empty where the sequence was not kept."""


@dataclass(frozen=True)
class Simulated:
    """What one simulator made of the explanation."""

    simulator: str
    model: str
    sequences: Mapping[str, int]
    """How many, by split; rows on other neurons apart."""
    controls: int
    """Rows on other neurons."""
    statuses: Mapping[str, int]
    reads_whole_corpus: bool
    """Whether it costs nothing and so is scored on far more than these rows, of which none are kept."""
    shown: tuple[ReadSequence, ...]


@dataclass(frozen=True)
class Scored:
    """What one scorer beside the simulators has kept of the explanation or its neuron."""

    table: str
    scorer: str
    rows: int
    controls: int
    statuses: Mapping[str, int]
    models: tuple[str, ...]


@dataclass(frozen=True)
class TracedTable:
    """The stamp of one table."""

    table: str
    layer: int | None
    identity: str
    content: str
    inputs: str
    code_version: str
    is_current: bool
    note: str
    """Why it is not; empty for one that is."""


@dataclass(frozen=True)
class Materialised:
    """The latest materialisation of a stage, from Dagster's history."""

    stage: str
    run_id: str | None
    """None where the history has none."""
    time: str | None = None
    """UTC, as in 2026-01-31T12:00:00+00:00."""
    commit: str | None = None
    """Of the code; None where that was not recorded."""
    note: str = ""
    """What speaks against its being the one that made the table."""


@dataclass(frozen=True)
class Trace:
    """Everything behind the scores of one explanation of one neuron."""

    study: str
    about: str
    layer: int
    neuron: int
    polarity: int
    description: Row | None
    """Row of DESCRIPTIONS; None where the neuron has none."""
    is_description: bool
    """Whether the explanation below is what describes the neuron."""
    scores: tuple[Row, ...]
    simulations: tuple[Simulated, ...]
    scored: tuple[Scored, ...]
    explanation: Row
    others: tuple[Row, ...]
    """What else was said of the neuron: explainer, draw, status and text."""
    sent: Sent
    exemplars: tuple[ShownSequence, ...]
    tokens: tuple[Row, ...]
    """Rows of the token table that the explainer ranks first, where it reads that."""
    effects: tuple[Row, ...]
    """What the amplified neuron changes most, where the explanation is of the output half."""
    documents: tuple[Row, ...]
    corpus: Row
    subject: Row
    tables: tuple[TracedTable, ...]
    runs: tuple[Materialised, ...]
    history: str
    """Where the runs were looked up, or why there are none."""

    def plain(self) -> dict[str, Any]:
        """Return it as plain data for JSON, which has no NaN and no infinity: null stands for these."""
        return _finite(asdict(self))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _finite(each) for name, each in cast(dict[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in cast(list[Any], value)]
    return None if isinstance(value, float) and not isfinite(value) else value
