"""A batch job's files may hold any bytes: they become replies or are passed over, and nothing is raised."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from resources.llm.batch_answers import Asked, read_answers
from resources.llm.openai_wire import ChatWire, CompletionWire
from resources.llm.prices import Prices

NAMES = ("a", "b", "c")
ASKED = Asked(frozenset(NAMES), frozenset(NAMES[:2]), max_tokens=5)
KEYS = (
    "custom_id", "response", "status_code", "body", "error", "choices", "message", "content", "code", "usage",
    "finish_reason", "prompt_tokens", "completion_tokens",
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from((*NAMES, 200))
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=5)
    ),
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "custom_id": st.sampled_from(NAMES) | JSON,
        "error": JSON,
        "response": st.fixed_dictionaries(
            {"status_code": st.just(200) | JSON},
            optional={"body": st.fixed_dictionaries({"choices": JSON}, optional={"usage": JSON}) | JSON},
        )
        | JSON,
    },
)
NESTED = st.tuples(st.sampled_from(("[", '{"a":', '{"body":')), st.integers(1, 3000)).map(
    lambda w: w[0] * w[1]
)
LINE = (
    ENTRY.map(json.dumps).map(str.encode)
    | JSON.map(json.dumps).map(str.encode)
    | st.binary()
    | NESTED.map(str.encode)
    | st.sampled_from((b"", b"\xef\xbb\xbf", b'{"custom_id": "a", "response": ' + b"9" * 5000 + b"}"))
)


@given(st.lists(LINE, max_size=6), st.integers(1, 200), st.booleans())
def test_any_file_is_read_without_an_exception_and_answers_only_what_was_asked(
    lines: Sequence[bytes], size: int, as_text: bool
):
    data = b"\n".join(lines)

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(data), size):
            yield data[start : start + size]

    wire = CompletionWire("m") if as_text else ChatWire("m")
    found = asyncio.run(read_answers(parts(), ASKED, wire=wire, prices=Prices(1.0, 1.0)))
    if found is None:
        return
    assert found.replies.keys() <= ASKED.wanted
    assert found.passed_over + len(found.replies) <= data.count(b"\n") + 1
    for reply in found.replies.values():
        assert reply.status in ("ok", "truncated", "refused", "failed")
        assert isinstance(reply.text, str) or reply.text is None
