"""The rule by which copied words are found in a text."""

import pytest

from neuroscribe.simulate.matching_words import Copied, copied, goes_round


def found(answer: str, text: str, *, cut: bool = False) -> Copied:
    return copied(answer, text, label="Words", nothing="none", cut=cut)


def words(answer: str, text: str) -> list[str]:
    """The stretches of the text that an answer copies, in their order."""
    return [text[start:stop] for start, stop in sorted(found(answer, text).spans)]


def test_a_word_counts_wherever_it_stands_and_never_inside_another() -> None:
    text = "the rain, a train and more rain; rainy"
    assert found("rain", text).spans == ((4, 8), (27, 31))


def test_a_word_counts_as_written_and_only_else_in_another_case() -> None:
    assert words("us", "the US told us") == ["us"]
    assert words("US", "the US told us") == ["US"]
    assert words("Us", "the US told us") == ["US", "us"]


def test_a_phrase_counts_where_its_words_follow_each_other() -> None:
    assert words("five miles", "five miles and fifty-five miles, miles away") == ["five miles", "five miles"]
    assert words("five  miles", "five miles") == []


def test_quotes_and_full_stops_around_a_word_are_taken_off_only_if_the_text_has_none() -> None:
    assert words('"rain", `storm`.', "rain and storm") == ["rain", "storm"]
    assert words('"rain"', 'he said "rain" and rain') == ['"rain"']


@pytest.mark.parametrize("answer", [",", ", ,", ",, ,"])
def test_a_copied_comma_counts_as_one(answer: str) -> None:
    assert found(answer, "goats, sheep, cows").spans == ((5, 6), (12, 13))


def test_commas_and_words_may_be_copied_together() -> None:
    assert words(",, sheep, .", "goats, sheep.") == [",", "sheep", "."]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("\\n", "one\ntwo"),
        ("\\t", "one\ttwo"),
        ("\\u200f", "one\u200ftwo"),
        ("\\\\", "one\\two"),
        ("<script>", "one<script>two"),
    ],
)
def test_what_was_shown_escaped_counts_as_what_it_stands_for(answer: str, text: str) -> None:
    assert found(answer, text).spans == ((3, len(text) - 3),)


def test_a_word_beside_a_line_break_is_whole_although_an_n_stands_before_it_in_the_prompt() -> None:
    assert found("two", "one\ntwo").spans == ((4, 7),)


def test_scripts_without_spaces_have_no_whole_words() -> None:
    assert words("下雨", "今天下雨了") == ["下雨"]
    assert words("क", "कि") == []


@pytest.mark.parametrize("answer", ["none", "None.", "Words: none", "**Words:** None", '"none"', " none \n"])
def test_none_is_an_empty_list(answer: str) -> None:
    assert found(answer, "none of us knew") == Copied()


@pytest.mark.parametrize(
    "answer",
    [
        "Nothing.",
        "No words fit.",
        "There are no words that fit the explanation.",
        "None of the words fit",
        "n/a",
    ],
)
def test_saying_in_other_words_that_nothing_fits_is_an_empty_list(answer: str) -> None:
    assert found(answer, "the rain fell") == Copied()


def test_another_way_to_say_none_is_a_copied_word_where_the_text_holds_it() -> None:
    assert words("nothing", "he saw nothing") == ["nothing"]


def test_words_that_are_not_there_are_counted_once_each() -> None:
    result = found("rain, hail, storm, hail", "rain and storm")
    assert result.unmatched == ("hail",)
    assert len(result.spans) == 2


def test_lists_may_come_with_a_label_bullets_or_numbers() -> None:
    for answer in ("Words: rain, storm", "**words**: rain, storm", "- rain\n- storm", "1. rain\n2. storm"):
        assert words(answer, "rain and storm") == ["rain", "storm"]


@pytest.mark.parametrize(
    "answer",
    [
        "rain; storm",
        "rain and storm",
        "rain, and storm",
        "rain | storm",
        "rain/storm",
        "rain,storm",
        "**rain** and **storm**.",
        '["rain", "storm"]',
        '{"words": ["rain", "storm"]}',
        'Words: {"matching words": ["rain", "storm"]}',
    ],
)
def test_a_list_may_be_parted_otherwise_where_the_text_does_not_hold_it_as_it_stands(answer: str) -> None:
    assert words(answer, "rain, then storm") == ["rain", "storm"]
    assert not found(answer, "rain, then storm").unmatched


def test_a_phrase_that_the_text_holds_is_not_parted() -> None:
    assert words("rain and storm", "rain and storm, rain") == ["rain and storm"]
    assert words("1/2", "1/2 and 1") == ["1/2"]
    assert found("hail and fog", "rain").unmatched == ("hail and fog",)


def test_an_empty_list_in_json_is_an_empty_list() -> None:
    assert found("[]", "the rain fell") == found('{"words": []}', "the rain fell") == Copied()


def test_where_the_text_holds_nothing_shorter_phrases_are_prose() -> None:
    assert found("The model is currently overloaded", "rain").has_prose
    assert not found("rain, the model is currently overloaded", "rain").has_prose


def test_a_sentence_that_is_not_in_the_text_is_prose_and_a_copied_one_is_not() -> None:
    sentence = "I looked at every word of it and found two that fit"
    assert found(sentence, "rain and storm").has_prose
    assert not found(sentence, f"He said: {sentence}!").has_prose
    assert not found("a slip in copying", "rain").has_prose


def test_the_last_phrase_of_an_answer_that_was_cut_off_does_not_count() -> None:
    assert found("rain, sto", "rain and sto", cut=True).spans == ((0, 4),)


def test_a_list_that_names_a_word_more_often_than_the_text_goes_round_in_circles() -> None:
    assert found("rain, storm, rain", "rain and storm").circles
    assert not found("rain, storm, rain", "rain and storm and rain").circles
    assert found("hail, hail", "rain").circles


TEXT = "red, blue and green, red again"
ROUND = "red, blue, green, red, blue, green, red, blue, green, red, "


@pytest.mark.parametrize(
    ("answer", "circles"),
    [
        (ROUND, True),
        (f"Words: {ROUND}", True),
        (ROUND.replace("red, blue, green, red", "blue, green", 1), False),
        ("red, blue, green, red, blue, green, red, blue, yellow, red, ", False),
        ("red, blue, green, ", False),
        ("", False),
    ],
)
def test_six_phrases_in_a_row_that_say_nothing_new_are_circles(answer: str, circles: bool) -> None:
    assert goes_round(answer, TEXT, label="Words") is circles


def test_a_word_listed_as_often_as_the_text_holds_it_is_no_circle() -> None:
    text = "no, " * 20
    assert not goes_round("no, " * 20, text, label="Words")
    assert goes_round("no, " * 30, text, label="Words")
