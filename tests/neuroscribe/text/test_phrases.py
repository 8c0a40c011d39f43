"""A phrase is the whole word where a neuron fires and some words before it, and is read back as written."""

import pytest

from neuroscribe.text.phrases import distinct, end_text, ends_text, meant, peak_phrase, phrase_at

TEXT = (b"A", b" city", b" in", b" overth", b"rew", b"n", b" Spain", b".", b"\n", b" It", b" don", b"'t")


@pytest.mark.parametrize(
    ("place", "before", "phrase"),
    [
        (4, 0, "overthrewn"),
        (4, 2, "city in overthrewn"),
        (1, 5, "A city"),
        (7, 0, "."),
        (7, 1, "Spain."),
        (11, 1, "It don't"),
        (9, 1, "Spain. It"),
        (8, 2, ""),
        (0, 2, "A"),
    ],
)
def test_a_phrase_ends_at_the_whole_word_of_its_token(place: int, before: int, phrase: str):
    assert phrase_at(TEXT, place, before) == phrase


def test_line_breaks_and_what_cannot_be_seen_never_come_into_a_phrase():
    assert phrase_at((b"one", b"\n\n", b"two", "\u200fthree".encode()), 3, 2) == "one two\\u200fthree"


def test_a_text_without_spaces_gives_phrases_of_bounded_length():
    assert len(phrase_at(("あ".encode(),) * 900, 800, 3)) <= 160


def test_phrases_that_differ_in_capitals_alone_are_one():
    assert distinct(["In Spain", "", "in spain", "in France"]) == ["In Spain", "in France"]


@pytest.mark.parametrize("phrase", ["a city in Spain", 'say "no"', "end.", "a\\n b", "<|im_end|>", "don't"])
def test_what_an_explanation_names_is_read_back(phrase: str):
    found = meant(end_text(phrase))
    assert found is not None
    assert found[0].replace("< |", "<|") == phrase


def test_the_end_is_the_last_word_or_the_last_marks():
    ends = {phrase: found[0][found[1] :] for phrase in ("in Spain", "Spain.", "It don't", '("x").')
            if (found := meant(end_text(phrase)))}  # fmt: skip
    assert ends == {"in Spain": "Spain", "Spain.": ".", "It don't": "don't", '("x").': '").'}


def test_other_texts_name_no_phrase():
    assert ends_text(["in Spain", "in France"]) == 'the ends of the phrases "in Spain", "in France"'
    assert ends_text(["in Spain"]) == 'the end of "in Spain"'
    others = (ends_text(["a", "b"]), "the end of a city", 'the end of "a" and "b"', 'see the end of "a"', "")
    assert [meant(text) for text in others] == [None] * 5


def test_a_blank_token_stands_for_itself_where_a_phrase_must_be_shown() -> None:
    assert peak_phrase([b"one", b"\n", b" two"], 1, 2) == "\\n"
    assert peak_phrase([b"one", b"\n", b" two"], 2, 1) == phrase_at([b"one", b"\n", b" two"], 2, 1)
