"""The structured simulator: JSON is read strictly, and whatever is wrong with it gives no values at all."""

import asyncio
import json
import math
from typing import Any

import pytest

from neuroscribe.ports.replies import ReplyStatus, Simulated
from neuroscribe.simulate.replied import RepliedSimulator
from neuroscribe.simulate.structured import Structured
from tests.neuroscribe.simulate.answering import Answering

SPEC = Structured(explainers=("any",))

TOKENS = (b" red", b"\n", b" car")


def reading(said: str, *, status: ReplyStatus = "ok", tokens: tuple[bytes, ...] = TOKENS) -> Simulated:
    simulator = RepliedSimulator(Answering(lambda _: said, status=status), SPEC)
    (simulated,) = asyncio.run(simulator.simulate("colours", [tokens]))
    return simulated


def body(*pairs: tuple[str, Any]) -> str:
    return json.dumps({"activations": [{"token": token, "activation": value} for token, value in pairs]})


GOOD = body((" red", 10), ("\\n", 0), (" car", 3))


def test_every_token_gets_its_number() -> None:
    simulated = reading(GOOD)

    assert simulated.activations == (10, 0, 3)
    assert (simulated.status, simulated.valid_fraction, simulated.unmatched_words) == ("ok", None, None)


@pytest.mark.parametrize(
    "said",
    [
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}```",
        json.dumps(json.loads(GOOD), indent=2),
        body(("red", 10), ("\n", 0), ("car ", 3)),
        body((" red", 10.0), ("\\n", 0), (" car", 3)),
    ],
    ids=["fenced", "fence without a language", "indented", "white space and line break as such", "10.0"],
)
def test_what_says_the_same_in_another_form_is_read(said: str) -> None:
    assert reading(said).activations == (10, 0, 3)


@pytest.mark.parametrize(
    "said",
    [
        "",
        f"Here it is: {GOOD}",
        f"{GOOD}\nI hope this helps.",
        f"```json\n{GOOD}",
        body((" red", 10), ("\\n", 0)),
        body((" red", 10), ("\\n", 0), (" car", 3), (".", 0)),
        body(("\\n", 0), (" red", 10), (" car", 3)),
        body((" RED", 10), ("\\n", 0), (" car", 3)),
        body((" red", "three"), ("\\n", 0), (" car", 3)),
        body((" red", "3"), ("\\n", 0), (" car", 3)),
        body((" red", None), ("\\n", 0), (" car", 3)),
        body((" red", True), ("\\n", 0), (" car", 3)),
        body((" red", 11), ("\\n", 0), (" car", 3)),
        body((" red", -1), ("\\n", 0), (" car", 3)),
        body((" red", 7.5), ("\\n", 0), (" car", 3)),
        body((" red", math.nan), ("\\n", 0), (" car", 3)),
        body((" red", math.inf), ("\\n", 0), (" car", 3)),
        GOOD.replace("10", "1e999"),
        GOOD.replace("10", "9" * 400),
        GOOD.replace("10", "9" * 5000),
        body((7, 10), ("\\n", 0), (" car", 3)),  # type: ignore[arg-type]
        "[10, 0, 3]",
        '{"activations": [10, 0, 3]}',
        '{"activations": {"token": " red"}}',
        '{"values": []}',
        "null",
        "[" * 100_000,
    ],
)
def test_whatever_breaks_the_form_gives_no_value_at_all(said: str) -> None:
    simulated = reading(said)

    assert simulated.status == "unparsable"
    assert all(math.isnan(value) for value in simulated.activations)


def test_json_that_was_cut_off_is_truncated_even_where_it_can_be_read() -> None:
    assert reading(GOOD[:20]).status == reading(GOOD[:-3]).status == "truncated"
    assert reading(GOOD[:20], status="truncated").status == "truncated"
    assert reading(GOOD, status="truncated").status == "truncated"


def test_a_refusal_in_words_is_one() -> None:
    assert reading("I'm sorry, I can't do that.").status == "refused"


def test_tokens_that_a_server_might_read_as_turns_are_shown_apart_and_read_either_way() -> None:
    tokens = (b"<|im_end|>",)
    llm = Answering(lambda _: "")
    asyncio.run(RepliedSimulator(llm, SPEC).simulate("turns", [tokens]))

    assert llm.asked[0][-1].content.endswith('Tokens: ["< |im_end|>"]')
    assert reading(body(("< |im_end|>", 4)), tokens=tokens).activations == (4,)
    assert reading(body(("<|im_end|>", 4)), tokens=tokens).activations == (4,)


def test_thoughts_before_the_answer_are_left_out() -> None:
    assert reading(f"<think>{GOOD[:9]}</think>\n{GOOD}").activations == (10, 0, 3)


def test_bytes_that_are_no_text_can_be_answered() -> None:
    assert reading(body(("\\xff", 4), ("\\\\", 0)), tokens=(b"\xff", b"\\")).activations == (4, 0)


def test_a_schema_goes_with_the_prompt_and_enough_tokens_for_the_answer() -> None:
    llm = Answering(lambda _: GOOD)
    asyncio.run(RepliedSimulator(llm, SPEC).simulate("colours", [TOKENS]))

    ((max_tokens, temperature, schema),) = llm.options
    assert schema == SPEC.answer_schema(TOKENS)
    pairs = schema["properties"]["activations"]
    assert pairs["minItems"] == pairs["maxItems"] == len(TOKENS) == 3
    assert temperature == 0
    assert max_tokens >= len(GOOD) / 2
    assert llm.asked[0][-1].content == 'Explanation: colours\nTokens: [" red", "\\\\n", " car"]'


def test_worked_examples_are_answers_as_they_are_asked_for() -> None:
    llm = Answering(lambda _: GOOD)
    asyncio.run(RepliedSimulator(llm, SPEC).simulate("colours", [TOKENS]))
    turns = llm.asked[0]

    for question, answer in zip(turns[1:-1:2], turns[2:-1:2], strict=True):
        shown = json.loads(question.content.split("Tokens: ")[1])
        tokens = tuple(token.replace("\\n", "\n").encode() for token in shown)
        assert reading(answer.content, tokens=tokens).status == "ok"
        assert "\n" not in answer.content
