"""Whatever the files of a store hold, they are read as what was written, or end in one StoreError."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuroscribe.errors import StoreError
from neuroscribe.fingerprint import fingerprint
from neuroscribe.report.ledger import ledger
from neuroscribe.tables.records import TOKEN_LOOKUP
from neuroscribe.testing.rows import filled
from resources.store.calls import FolderCalls
from resources.store.tables import Tables

quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
KEY = fingerprint("a question")
USAGE = {"prompt_tokens": 3, "cached_tokens": 0, "completion_tokens": 2, "cost_usd": 0.5, "latency_s": 1.5}
ANSWERS: list[dict[str, Any]] = [
    {
        "text": "fires on \u2603",
        "status": "ok",
        "usage": USAGE,
        "about": {"stage": "explanation", "layer": 1},
    },
    {"readings": [{"activations": [1.0], "status": "ok", "usage": USAGE}]},
    {"answer": True, "probability": 0.25, "status": "ok", "usage": USAGE},
    {"divergences": [0.5, 0.25]},
    {"chat": True, "completion": None, "echoed_logprobs": 5},
    {"requests": ["a", "b"], "id": "batch_1"},
    {"job": fingerprint("a job")},
]
FIELDS = ["usage", "about", "readings", "status"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@st.composite
def damage(draw: Any) -> Any:
    """A way to change bytes: some replaced, some left out, or cut off."""
    places = draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
    cut = draw(st.none() | st.integers(0, 10**6))

    def apply(data: bytes) -> bytes:
        changed = bytearray(data)
        for place, value in places:
            changed[place % len(changed)] = value
        return bytes(changed if cut is None else changed[: cut % len(changed)])

    return apply


def _file(folder: Path) -> Path:
    path = folder / KEY[:2] / f"{KEY}.json"
    path.parent.mkdir(exist_ok=True)
    return path


@given(answer=st.sampled_from(ANSWERS), damaged=damage())
@quick
def test_a_damaged_answer_is_never_read_as_another(
    folder: Path, answer: dict[str, Any], damaged: Any
) -> None:
    calls = FolderCalls(folder)
    calls.put(KEY, answer)
    path = _file(folder)
    path.write_bytes(damaged(path.read_bytes()))
    try:
        assert calls.get(KEY) == answer
    except StoreError as error:
        assert str(path) in str(error)  # noqa: PT017 - both ends are right ones


@given(content=st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
@quick
def test_a_file_of_any_content_is_an_answer_or_refused(folder: Path, content: bytes) -> None:
    _file(folder).write_bytes(content)
    with suppress(StoreError):
        assert isinstance(FolderCalls(folder).get(KEY), dict)


@given(
    answer=st.sampled_from(ANSWERS),
    name=st.sampled_from(FIELDS),
    value=json_values,
)
@quick
def test_a_ledger_of_odd_answers_from_before_checksums_is_made_or_refused(
    folder: Path, answer: dict[str, Any], name: str, value: Any
) -> None:
    _file(folder).write_text(json.dumps(answer | {name: value}))
    with suppress(StoreError):
        assert ledger(FolderCalls(folder)).height <= 1


@given(damaged=damage())
@quick
def test_a_damaged_table_is_never_read_as_another(folder: Path, damaged: Any) -> None:
    tables, frame = Tables(str(folder / "tables")), filled(TOKEN_LOOKUP, {"layer": 3, "neuron": 7})
    tables.write(frame, "tiny", "token_lookup", 3, provenance={"identity": "abc"})
    path = folder / "tables/tiny/token_lookup/layer_03.parquet"
    path.write_bytes(damaged(path.read_bytes()))
    stamp = tables.stamp("tiny", "token_lookup", 3)
    assert stamp is None or len(stamp.identity) < 100
    try:
        assert tables.read("tiny", "token_lookup", 3).equals(frame)
    except StoreError as error:
        assert str(path) in str(error)  # noqa: PT017 - both ends are right ones
