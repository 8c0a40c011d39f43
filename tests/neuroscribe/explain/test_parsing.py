import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroscribe.explain.parsing import LONGEST, LONGEST_LONG, ParsedAnswer, named_apart, parsed_answer
from neuroscribe.tables.statuses import EXPLANATION_STATUSES

FRAGMENTS = (
    "<think>", "</think>", "<think>Okay", "\n", "\n\n", "\t10", "rain\t9", "I'm sorry, but I can't",
    "Okay, so the", "We need to", "Let me analyze", "{", "}", '{"short": ', '"long": ', '"', "'", "**", "`",
    "```json\n", "\n```", "NaN", "\\ud83d", "\ud83d", "\x00", "\u2028", "Explanation: ", "In common:",
    "this neuron fires on ", "before ", "just before ", "<< rain >>", "...", "words for weather",
    "rain: 10, storm: 9", ", ", "x" * 120, "[" * 50,
)  # fmt: skip
NASTY = st.sampled_from(FRAGMENTS)
ANSWERS = st.lists(NASTY | st.text(max_size=5), max_size=12).map("".join)
FORMS = st.sampled_from(["line", "schema"])


def line(answer: str) -> tuple[str | None, str]:
    read = parsed_answer(answer)
    return read.text, read.status


def schema(answer: Any) -> tuple[str | None, str | None, str]:
    read = parsed_answer(answer if isinstance(answer, str) else json.dumps(answer), form="schema")
    return read.text, read.long_text, read.status


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("words for weather", "words for weather"),
        (" words for weather.\n", "words for weather"),
        ('"words for weather."', "words for weather"),
        ('"words for weather".', "words for weather"),
        ("**words for weather**", "words for weather"),
        ("**Explanation:** words for weather", "words for weather"),
        ("Explanation: this neuron fires on words for weather", "words for weather"),
        ("Explanation: Explanation: 'words for weather'", "words for weather"),
        ("This neuron activates mainly for words for weather", "words for weather"),
        ("The neuron responds to words for weather", "words for weather"),
        ("Common feature: words for weather", "words for weather"),
        ("**Common feature:**\nwords for weather", "words for weather"),
        ("The marked words are words for weather.", "words for weather"),
        ("The last words of these phrases have in common a link to weather", "a link to weather"),
        ("genus, order, genus, order, genus", "genus, order"),
        ("chemistry: gas, acid, gas, gas", "chemistry: gas, acid"),
        ("words like 'the'", "words like 'the'"),
        ("'the' and 'a'", "'the' and 'a'"),
        ('the letters "q" and "z"', 'the letters "q" and "z"'),
        ("'I can't' and other refusals in speech", "'I can't' and other refusals in speech"),
        ("I as the subject of a sentence", "I as the subject of a sentence"),
        ("so, well and other words that fill a pause", "so, well and other words that fill a pause"),
        ("first person pronouns", "first person pronouns"),
        ("sorrow and regret", "sorrow and regret"),
        ("sorry and other apologies", "sorry and other apologies"),
        ("none of these and other negations", "none of these and other negations"),
        ("no and not before verbs", "no and not before verbs"),
        ("numbers such as 10 and 40", "numbers such as 10 and 40"),
        ("verses such as John 3:16 and Mark 4:2", "verses such as John 3:16 and Mark 4:2"),
        ("the neuronal cells", "the neuronal cells"),
        ("the neurons of the brain", "the neurons of the brain"),
    ],
)
def test_a_plain_phrase_is_an_explanation_without_its_wrapping(answer: str, text: str) -> None:
    assert line(answer) == (text, "ok")


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I can’t say.",
        "\"I'm sorry, but I can't help with that.\"",
        "**I'm sorry, but no.**",
        "Explanation: I'm sorry, I can't tell",
        "Sorry, this is not possible",
        "Unfortunately, the excerpts do not say.",
        "I cannot identify a pattern.\nPlease give more excerpts.",
        "I am unable to tell",
        "I'm not able to tell.",
        "I don't have enough information",
        "As an AI, I have no view",
        "As a language model I do not look at such text",
        "There is no clear pattern in these tokens",
        "no discernible pattern",
        "It is not possible to determine what they share",
        "Not enough information.",
        "N/A",
        "None.",
        "There isn't a clear pattern",
        "There doesn't appear to be a clear pattern in these excerpts",
        "The excerpts do not share a clear pattern",
        "No pattern found",
        "No explanation available.",
        "Not applicable",
        "Not sure.",
        "I don't know",
        "Nothing in common",
        "Please provide the excerpts",
        "This request violates our policy",
        "抱歉,我无法回答",
        "Lo siento, no puedo",
        "Ich kann das nicht",
        "申し訳ありませんが",
        "죄송합니다",
    ],
)
def test_a_refusal_is_told_apart(answer: str) -> None:
    assert line(answer) == (None, "refused")


@pytest.mark.parametrize(
    "answer",
    [
        "<think>It fires on rain, so weather.",
        "<think>\nIt fires on rain.\n\nStill thinking",
        "<think>rain</think>",
        "<think>rain</think>\n",
        "<think>rain</think> <think>storm",
        "words <think>or is it storms?</think> for weather",
        "it fires on rain</think> words for weather",
        "Okay, let's see. The tokens are rain and storm.",
        "Okay so the tokens are rain and storm",
        "Alright, I look at the excerpts first",
        "Hmm, this is about rain",
        "Let me analyze the excerpts",
        "Let's look at the marked tokens: rain",
        "We need to find what is common: rain, storm",
        "I think it is about weather",
        "First, I look at the tokens",
        "The user wants a phrase",
        "Looking at the excerpts, it is weather",
        "To determine what this neuron does, the tokens matter",
        "Step 1: list the tokens",
        "**Reasoning:** rain falls",
        "Explanation: Okay, let me think about it",
        "<|channel|>analysis<|message|>Rain and storm",
        "Okay, let's see.\n\nThe tokens are rain and storm.\n\nwords for weather",
    ],
)
def test_thoughts_about_the_answer_are_none(answer: str) -> None:
    assert line(answer) == (None, "reasoning")


@pytest.mark.parametrize(
    "answer",
    [
        "<think>It fires on rain.</think>words for weather",
        "<think>\nIt fires on rain\tand storm.\n</think>\n\nwords for weather",
        "  <think>a</think><think>b</think> words for weather.",
        "Okay, let's see: rain.\n</think>\n\nwords for weather",
    ],
)
def test_an_answer_after_closed_thoughts_counts(answer: str) -> None:
    assert line(answer) == ("words for weather", "ok")


@pytest.mark.parametrize(
    "answer",
    [
        "...",
        "this neuron",
        "words for weather\nand also for ships",
        "words for weather\u2028and also for ships",
        "rain\t10",
        " storm\t 9 fog\t8",
        "7\t rain",
        "rain: 10, storm: 9",
        '"rain" (10) "storm" (9)',
        "rain 10 storm 9",
        "the heavy << rain >> and sudden << storm >> came",
        '{"short": "words for weather"}',
        "[1, 2]",
    ],
)
def test_lists_and_several_lines_are_unparsable(answer: str) -> None:
    assert line(answer) == (None, "unparsable")


@pytest.mark.parametrize(
    "answer",
    [
        "null",
        "undefined",
        "NaN",
        "(no answer)",
        "[REDACTED]",
        "<explanation>",
        "refused",
        "truncated",
        "<|endoftext|>",
        "<|im_start|>assistant",
        "<html><body>502 Bad Gateway</body></html>",
        "<!DOCTYPE html><title>Just a moment</title>",
        "Error 429: Too many requests",
        "502 Bad Gateway",
        "Internal Server Error",
        "The model is overloaded. Please try again later.",
        "Here is the explanation:",
    ],
)
def test_what_servers_and_programs_write_in_place_of_an_answer_is_unparsable(answer: str) -> None:
    assert line(answer) == (None, "unparsable")
    fields = parsed_answer(json.dumps({"short": "words for weather", "long": answer}), form="schema")
    assert (fields.text, fields.long_text, fields.status) == (None, None, "unparsable")


@pytest.mark.parametrize(
    "text",
    [
        "error messages and exceptions",
        "undefined variables",
        "not only, not just",
        "the word 'no' before an answer",
        "HTML tags such as <body>",
        "the token <|endoftext|> and what follows",
        "apologies in letters",
        "knowledge of patterns",
        "the word 'null'",
        "sure signs of rain",
        "truncated words",
        "server names",
        "the status codes 502 and 503",
    ],
)
def test_a_phrase_about_such_things_is_an_explanation(text: str) -> None:
    assert line(text) == (text, "ok")


def test_an_answer_may_be_empty_or_too_long() -> None:
    assert line("") == line(" \n ") == (None, "empty")
    assert line("x" * LONGEST) == ("x" * LONGEST, "ok")
    assert line("x" * (LONGEST + 1)) == (None, "too_long")


def test_a_prefix_stands_before_every_text_once() -> None:
    for answer in ("a verb", "before a verb", "just before a verb.", "This neuron fires just before a verb"):
        assert parsed_answer(answer, prefix="just before").text == "just before a verb"
    assert parsed_answer("x" * LONGEST, prefix="just before").status == "too_long"


RIGHT = {"short": "words for weather.", "long": "It fires on rain,\nand on storms."}


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps(RIGHT),
        json.dumps(RIGHT, indent=2),
        f"```json\n{json.dumps(RIGHT)}\n```",
        f"```\n{json.dumps(RIGHT)}\n```\n",
        f"<think>Okay, so the JSON</think>\n{json.dumps(RIGHT)}",
    ],
)
def test_json_gives_a_short_and_a_long_text(answer: str) -> None:
    assert schema(answer) == ("words for weather", "It fires on rain, and on storms.", "ok")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("", "empty"),
        ({"short": "", "long": "b"}, "empty"),
        ({"short": "a", "long": " \n"}, "empty"),
        ("{", "truncated"),
        ('{"short": "words for wea', "truncated"),
        ('{"short": "words for weather", "long": "It fires on', "truncated"),
        ('{"short": "words for weather", "long": "It fires on rain"', "truncated"),
        ('Here it is: {"short": "a", "long": "b"}', "unparsable"),
        ('{"short": "a", "long": "b"} I hope this helps', "unparsable"),
        ('Okay, let me think. {"short": "a", "long": "b"}', "reasoning"),
        ("I'm sorry, but I can't help with that", "refused"),
        ("words for weather", "unparsable"),
        ({"short": "a"}, "unparsable"),
        ({"short": "a", "long": "b", "more": "c"}, "unparsable"),
        ({"short": "a", "long": None}, "unparsable"),
        ({"short": ["a"], "long": "b"}, "unparsable"),
        ({"short": 3, "long": "b"}, "unparsable"),
        ('{"short": NaN, "long": "b"}', "unparsable"),
        ('{"short": "a", "long": Infinity}', "unparsable"),
        ([RIGHT], "unparsable"),
        ("null", "unparsable"),
        ("[" * 100_000, "unparsable"),
        ({"short": "a\nb", "long": "c"}, "unparsable"),
        ({"short": "rain\t10", "long": "c"}, "unparsable"),
        ({"short": "a", "long": "rain: 10, storm: 9"}, "unparsable"),
        ({"short": "I'm sorry, I can't", "long": "c"}, "refused"),
        ({"short": "a", "long": "I cannot help with that."}, "refused"),
        ({"short": "Okay, so the tokens", "long": "c"}, "reasoning"),
        ({"short": "a", "long": "<think>hm</think> b"}, "reasoning"),
        ({"short": "x" * (LONGEST + 1), "long": "c"}, "too_long"),
        ({"short": "a", "long": "x" * (LONGEST_LONG + 1)}, "too_long"),
    ],
)
def test_json_that_breaks_the_schema_is_no_explanation(answer: Any, status: str) -> None:
    assert schema(answer) == (None, None, status)


def test_half_a_surrogate_pair_in_json_is_written_out() -> None:
    text, long_text, _ = schema('{"short": "the emoji \\ud83d", "long": "half: \\ud83d"}')
    assert (text, long_text) == ("the emoji \\ud83d", "half: \\ud83d")


@given(ANSWERS, FORMS, st.sampled_from(["", "just before"]))
def test_whatever_the_answer_texts_are_there_exactly_when_the_status_is_ok(
    answer: str, form: Any, prefix: str
) -> None:
    read = parsed_answer(answer, form=form, prefix=prefix)
    assert read.status in EXPLANATION_STATUSES
    assert (read.text is not None) == (read.status == "ok")
    assert (read.long_text is not None) == (read.status == "ok" and form == "schema")
    for text, longest in ((read.text, LONGEST), (read.long_text, LONGEST_LONG)):
        assert text is None or (0 < len(text) <= longest and len(text.splitlines()) == 1)


@given(ANSWERS, st.sampled_from(["", "just before"]))
def test_reading_an_explanation_again_changes_nothing(answer: str, prefix: str) -> None:
    read = parsed_answer(answer, prefix=prefix)
    if read.text is not None:
        assert parsed_answer(read.text, prefix=prefix) == ParsedAnswer(read.text, None, "ok")


@given(ANSWERS, ANSWERS)
def test_short_and_long_texts_read_again_as_they_are(short: str, long: str) -> None:
    read = parsed_answer(json.dumps({"short": short, "long": long}), form="schema")
    if read.status == "ok":
        again = json.dumps({"short": read.text, "long": read.long_text})
        assert parsed_answer(again, form="schema") == read


def test_of_a_list_that_was_cut_off_what_it_names_counts() -> None:
    def cut(answer: str) -> tuple[str | None, str]:
        read = parsed_answer(answer, cut=True)
        return read.text, read.status

    assert cut("chemistry: gas, acid, gas, acid, gas, ac") == ("chemistry: gas, acid", "ok")
    assert cut("last: last, last, last, last, la") == ("last: last", "ok")
    assert cut("chemistry: gas, acid, zinc, sulphur, ni") == ("chemistry: gas, acid, zinc, sulphur", "ok")
    assert cut("chemistry: gas") == cut("chemistry: gas, ac") == (None, "truncated")
    assert cut("gas and acids that were found in the") == (None, "truncated")
    assert cut("gas, gas, gas, gas\nacid, gas, gas, gas") == (None, "truncated")
    assert parsed_answer('{"short": "a, a, a, a, a', form="schema", cut=True).status == "truncated"


def test_two_answers_do_not_become_one() -> None:
    assert line("words for weather\nnames of cities") == (None, "unparsable")
    assert line("Common feature:\nwords for weather\nnames of cities") == (None, "unparsable")


def test_a_kind_with_its_words_is_read_word_by_word() -> None:
    assert named_apart("chemistry: gas, acid") == ["chemistry: gas", "chemistry: acid"]
    assert named_apart("chemistry: gas") is None
    assert named_apart("founded, set up, made") == ["founded", "set up", "made"]
    assert named_apart("towns in France, Spain") is None
    assert named_apart("verbs of saying, in the past, and not in the present tense") is None
