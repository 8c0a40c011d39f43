import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroscribe.text.phrases import peak_phrase, peak_word

TOKENS = (b"The", b" sc", b"ulpt", b"or", b" (", b"Bran", b"cus", b"i", b")", b"\n", b" ")


@pytest.mark.parametrize(
    ("place", "word", "phrase"),
    [
        (0, "The", "The"),
        (2, "sculptor", "The sculptor"),
        (4, "(", "The sculptor ("),
        (6, "Brancusi", "The sculptor (Brancusi"),
        (8, ")", "The sculptor (Brancusi)"),
        (9, "\n", "The sculptor (Brancusi)\\n"),
    ],
)
def test_a_token_is_shown_as_its_whole_word_with_the_words_before(place: int, word: str, phrase: str) -> None:
    assert peak_word(TOKENS, place) == word
    assert peak_phrase(TOKENS, place, before=2) == phrase


def test_no_more_words_stand_before_than_asked_for() -> None:
    words = [b"one", b" two", b" three", b" four", b" five"]
    assert peak_phrase(words, 4, before=2) == "three four five"
    assert peak_phrase(words, 4, before=0) == "five"
    assert peak_phrase([b"one", b" two", b" ", b" three"], 3, before=1) == "two  three"


@given(st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=8), st.data())
def test_a_phrase_of_whatever_bytes_is_one_line(tokens: list[bytes], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(tokens) - 1))
    phrase = peak_phrase(tokens, place, before=3)
    assert phrase.isprintable()
    assert len(phrase.splitlines()) <= 1
