import math
from enum import Enum
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroscribe.fingerprint import canonical, fingerprint
from neuroscribe.study.spec import LLMSpec

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


class Colour(Enum):
    RED = "red"


@given(PLAIN)
def test_plain_data_has_one_fingerprint(value: object) -> None:
    assert fingerprint(value) == fingerprint(value)
    assert len(fingerprint(value)) == 64


@given(PLAIN, PLAIN)
def test_fingerprints_agree_exactly_when_the_data_does(one: object, other: object) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (repr(canonical(one)) == repr(canonical(other)))


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    assert fingerprint("a", 1) == "135f17a475a61afdeeaf3759ad2e45ad1c7abb192395abe47e41fc8e395dc1a9"


def test_the_order_of_keys_means_nothing_and_that_of_items_does() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint([1, 2]) != fingerprint([2, 1])
    assert fingerprint((1, 2)) == fingerprint([1, 2])
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


def test_models_enums_paths_and_bytes_have_a_plain_form() -> None:
    assert canonical(LLMSpec(model="m"))["model"] == "m"
    assert canonical(Colour.RED) == "red"
    assert canonical(PurePosixPath("a") / "b") == "a/b"
    assert canonical([b"\xff"]) == [{"bytes": "ff"}]


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, object(), np.float32(1), {"a": [math.nan]}])
def test_values_without_a_stable_form_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="has no stable identity"):
        fingerprint(value)


def test_keys_that_read_the_same_are_refused() -> None:
    with pytest.raises(TypeError, match="read the same as text"):
        fingerprint({1: "a", "1": "b"})


def test_half_a_surrogate_pair_has_a_fingerprint() -> None:
    assert fingerprint("\ud83d") != fingerprint("\ud83e")
