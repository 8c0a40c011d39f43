"""What each kind of simulator sends to a language model, for those who want to know before it is sent."""

from collections.abc import Sequence

from neuroscribe.explain.messages import as_text
from neuroscribe.simulate import one_at_a_time
from neuroscribe.simulate.matching_words import MatchingWordsLayout
from neuroscribe.simulate.prompts import hidden_prompt
from neuroscribe.simulate.specs import AllAtOnce, MatchingWords, OneAtATime, SimulatorSpec, Structured
from neuroscribe.simulate.structured import StructuredLayout

Request = tuple[str, int]
"""A prompt as running text, and the most tokens that its answer may take."""


def requests(spec: SimulatorSpec, explanation: str, tokens: Sequence[bytes]) -> list[Request]:
    """Return the requests that read one sequence; as many as `spec.calls` says.

    A model in this process is shown about as much text by `all_at_once` as a server.
    """
    match spec:
        case AllAtOnce():
            return [(hidden_prompt(explanation, tokens)[0], 1)]
        case OneAtATime():
            return [(as_text(messages), 1) for messages in one_at_a_time.prompts(explanation, tokens)]
        case MatchingWords() | Structured():
            layout = MatchingWordsLayout() if isinstance(spec, MatchingWords) else StructuredLayout()
            return [(as_text(layout.messages(explanation, tokens)), layout.longest_answer(tokens))]
        case _:
            return []
