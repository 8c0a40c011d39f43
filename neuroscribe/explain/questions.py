"""What each kind of explainer asks about a neuron, or why there is nothing to ask."""

from dataclasses import dataclass

from neuroscribe.exemplars import Neuron
from neuroscribe.explain.evidence import (
    LayerEvidence,
    ShownExcerpts,
    promoted_tokens,
    shown_excerpts,
    strongest_tokens,
)
from neuroscribe.explain.highlights import highlight_messages, logit_lens_messages, token_summary_messages
from neuroscribe.explain.prompts import following, next_token_messages, token_pair_messages
from neuroscribe.explain.specs import AskingSpec, Highlights, LogitLens, NextToken, Showing, TokenSummary
from neuroscribe.fingerprint import fingerprint
from neuroscribe.replies import Message

NO_TOKEN = "no token has a positive mean"  # noqa: S105 - no password
SILENT = "no training exemplar shows the neuron firing"


@dataclass(frozen=True)
class Question:
    """One prompt about one neuron; without messages there is nothing to ask, for the reason given."""

    neuron: Neuron
    sequence_ids: tuple[int, ...]
    messages: tuple[Message, ...]
    sample_index: int = 0
    reason: str = ""

    @property
    def prompt_sha256(self) -> str:
        """Hash of the prompt as sent."""
        return fingerprint([[message.role, message.content] for message in self.messages])


def questions(evidence: LayerEvidence, spec: AskingSpec) -> list[Question]:
    """Return a layer's questions, the candidates of each neuron side by side; a mute neuron has one."""
    found: list[Question] = []
    for neuron in evidence.neurons:
        sequence_ids, messages, reason = _asked(evidence, neuron, spec)
        for index in range(spec.candidates if messages else 1):
            found.append(Question(neuron, sequence_ids, messages, index, reason))
    return found


def _asked(
    evidence: LayerEvidence, neuron: Neuron, spec: AskingSpec
) -> tuple[tuple[int, ...], tuple[Message, ...], str]:
    """Return the sequences shown, the prompt, and the reason if there is none."""
    if isinstance(spec, TokenSummary):
        ranked = strongest_tokens(evidence, neuron, count=spec.among, occurrences=spec.occurrences)
        tokens = spread(ranked, spec.tokens)
        return (), token_summary_messages(tokens, spec.answer) if tokens else (), "" if tokens else NO_TOKEN
    shown = shown_excerpts(evidence, neuron, spec.excerpts, spec.excerpt_tokens)
    if isinstance(spec, NextToken):
        shown = _with_next_tokens(shown)
    if not any(value for pairs in shown.excerpts for _, value in pairs):
        return shown.sequence_ids, (), SILENT
    return shown.sequence_ids, _excerpt_messages(evidence, neuron, spec, shown), ""


def _excerpt_messages(
    evidence: LayerEvidence, neuron: Neuron, spec: Showing, shown: ShownExcerpts
) -> tuple[Message, ...]:
    strongest_last = tuple(reversed(shown.excerpts))
    match spec:
        case NextToken():
            return next_token_messages(shown.excerpts, spec.answer)
        case LogitLens():
            promoted = promoted_tokens(evidence, neuron, spec.promoted)
            return logit_lens_messages(strongest_last, promoted, spec.answer)
        case Highlights():
            return highlight_messages(strongest_last, spec.answer)
        case _:
            return token_pair_messages(shown.excerpts, spec.answer)


def _with_next_tokens(shown: ShownExcerpts) -> ShownExcerpts:
    return ShownExcerpts(shown.sequence_ids, tuple(tuple(following(pairs)) for pairs in shown.excerpts))


def spread(ranked: list[str], count: int) -> list[str]:
    """Return `count` tokens at even distances among the ranks, the first included; all if there are fewer."""
    if len(ranked) <= count:
        return ranked
    return [ranked[place * len(ranked) // count] for place in range(count)]
