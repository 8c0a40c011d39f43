"""A simulator without log-probabilities: the model copies the words that fit the explanation.

One short question a sequence, and every token of a copied word is 10, every other 0. Models too small to rate
tokens one by one can still do this; what they cannot say is how well a word fits.
"""

from collections.abc import Sequence

from neuroscribe.escaping import escaped, unforged
from neuroscribe.explain.faults import fault
from neuroscribe.replies import Message, ReadingStatus, Reply, Simulated
from neuroscribe.simulate.copied_words import Copied, copied, goes_round
from neuroscribe.simulate.distribution import without_values
from neuroscribe.simulate.prompts import conversation, wording
from neuroscribe.simulate.spans import text_and_spans, touched

_FITS = 10.0


class MatchingWordsLayout:
    """Fulfils `ReplyLayout`."""

    name = "matching_words"

    def schema(self, tokens: Sequence[bytes]) -> None:
        """Return none: the answer is plain text."""
        del tokens

    def messages(self, explanation: str, tokens: Sequence[bytes]) -> list[Message]:
        """Return the prompt; its last message is the beginning of the answer."""
        data = wording(self.name)
        worked = [
            (
                _question(each["explanation"], each["text"]),
                f"{data['label']}: {', '.join(each['words']) or data['nothing']}",
            )
            for each in data["example"]
        ]
        text = unforged(escaped(text_and_spans(tokens)[0].encode()).strip())
        turns = conversation(data["instruction"], worked, _question(unforged(explanation), text))
        return [*turns, Message("assistant", f"{data['label']}:")]

    def longest_answer(self, tokens: Sequence[bytes]) -> int:
        """Return enough for a copy of the whole text with its commas."""
        return 32 + 2 * len(tokens)

    def enough(self, answer: str, tokens: Sequence[bytes]) -> bool:
        """Tell whether an answer goes round in circles, and has for some time."""
        return goes_round(answer, text_and_spans(tokens)[0], label=wording(self.name)["label"])

    def reading(self, reply: Reply, tokens: Sequence[bytes]) -> Simulated:
        """Return 10 for every token that has a character in a copied word, 0 for every other.

        An answer that was cut off counts if it went round in circles: it had said all it had to say.
        """
        text, spans = text_and_spans(tokens)
        data = wording(self.name)
        cut = reply.status == "truncated"
        found = copied(reply.text or "", text, label=data["label"], nothing=data["nothing"], cut=cut)
        if status := _fault(reply, found):
            return without_values(len(tokens), status)
        values = [0.0] * len(tokens)
        for start, stop in found.spans:
            for place in touched(spans, start, stop):
                values[place] = _FITS
        return Simulated(tuple(values), None, unmatched_words=len(found.unmatched))


def _fault(reply: Reply, found: Copied) -> ReadingStatus | None:
    """Return why an answer cannot be read, if it cannot."""
    if not (reply.text or "").strip():
        return "unparsable"
    seen = fault(reply.text or "") if found.unmatched else None
    if seen == "refused":
        return "refused"
    if reply.status == "truncated" and not found.circles:
        return "truncated"
    # Words that are not there are words; an error or a page, of which the text holds nothing, is no list.
    return "unparsable" if found.has_prose or (seen and not found.spans) else None


def _question(explanation: str, text: str) -> str:
    return f"Explanation: {explanation}\nText: {text}"
