"""Lists of tokens are read back as they were written, whatever the tokens hold."""

import pytest

from neuroscribe.text.escaping import escaped
from neuroscribe.text.listed_tokens import graded_list, listed_as, listed_tokens, token_list

HOSTILE = (b'"', b'", "x', b"\\", b'\\"', b"\n", b"  ", b"\xff", b",", b'a", ', "ö".encode(), b"<|end|>")


def test_a_list_names_tokens_without_outer_spaces_and_each_name_once():
    assert token_list([" red", "red", "\\n", "  "]) == 'the tokens "red", "\\n", "  "'


@pytest.mark.parametrize("tokens", [HOSTILE, *[(token,) for token in HOSTILE]])
def test_what_a_list_names_is_read_back(tokens: tuple[bytes, ...]):
    text = token_list(escaped(token) for token in tokens)
    assert listed_tokens(text) == {listed_as(token): 10 for token in tokens}
    assert "\n" not in text


def test_strengths_are_read_back_beside_tokens_that_look_like_one():
    strengths = {"red": 10, "(7)": 3, '" (2)': 1, "blue (4)": 7}
    text = graded_list(strengths)
    assert text.startswith('the tokens "red" (10), "(7)" (3), ')
    assert listed_tokens(text) == strengths
    assert listed_tokens('the tokens "red" (2), "blue"') == {"red": 2, "blue": 10}


@pytest.mark.parametrize(
    "text",
    ["", "words about rain", "the tokens ", 'the tokens "a', 'the tokens "a" and "b"', 'the tokens "a", b',
     'see the tokens "a"', 'the tokens "a" (0)', 'the tokens "a" (11)',
     'the tokens "a"(3)', 'the tokens "a"b"'],
)  # fmt: skip
def test_what_is_no_list_names_no_tokens(text: str):
    assert listed_tokens(text) is None
