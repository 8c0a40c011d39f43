"""Chat messages as one running text, for models that continue text rather than answer turns."""

from collections.abc import Sequence

from neuroscribe.replies import Message

_BLANK_LINE = "\n\n"


def as_text(messages: Sequence[Message]) -> str:
    """Return the contents of `messages`, parted by blank lines.

    A final assistant message is a stub: the text ends with it, to be continued where it stops. Without a
    stub the text ends with a blank line, so that the answer opens a paragraph of its own.
    """
    text = _BLANK_LINE.join(message.content for message in messages)
    stubbed = bool(messages) and messages[-1].role == "assistant"
    return text if stubbed else text + _BLANK_LINE
