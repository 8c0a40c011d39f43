import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroscribe.explain.parsing import LONGEST, explanation_text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("words for weather", "words for weather"),
        (" words for weather.\n", "words for weather"),
        ('"words for weather."', "words for weather"),
        ('"words for weather".', "words for weather"),
        ("**words for weather**", "words for weather"),
        ("Explanation: this neuron fires on words for weather", "words for weather"),
        ("This neuron activates mainly for words for weather", "words for weather"),
        ("The neuron responds to words for weather", "words for weather"),
        ("words like 'the'", "words like 'the'"),
        ("'the' and 'a'", "'the' and 'a'"),
        ('the letters "q" and "z"', 'the letters "q" and "z"'),
        ("I as the subject of a sentence", "I as the subject of a sentence"),
        ("sorrow and regret", "sorrow and regret"),
        ("numbers such as 10 and 40", "numbers such as 10 and 40"),
    ],
)
def test_a_plain_phrase_is_an_explanation_without_its_wrapping(answer: str, text: str) -> None:
    assert explanation_text(answer) == (text, "ok")


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I can’t say.",
        "Sorry, this is not possible",
        "I cannot identify a pattern.\nPlease give more excerpts.",
        "I am unable to tell",
        "I'm not able to tell.",
        "As an AI, I have no view",
    ],
)
def test_a_refusal_is_told_apart(answer: str) -> None:
    assert explanation_text(answer) == (None, "refused")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n ",
        "...",
        "this neuron",
        "words for weather\nand also for ships",
        "<think>\nIt fires on rain.\n</think>\nwords for weather",
        "x" * (LONGEST + 1),
        "rain\t10",
        " storm\t 9 fog\t8",
    ],
)
def test_anything_else_than_one_short_line_is_unparsable(answer: str) -> None:
    assert explanation_text(answer) == (None, "unparsable")


@given(st.text())
def test_a_text_is_there_exactly_when_the_status_is_ok(answer: str) -> None:
    text, status = explanation_text(answer)
    assert (text is not None) == (status == "ok")
    assert text is None or (0 < len(text) <= LONGEST and len(text.splitlines()) == 1)


@pytest.mark.parametrize("text", ["the neuronal cells", "the neurons of the brain"])
def test_words_that_only_begin_like_a_lead_in_stay_whole(text: str) -> None:
    assert explanation_text(text) == (text, "ok")
