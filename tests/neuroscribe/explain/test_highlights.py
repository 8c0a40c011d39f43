"""The highlighted-excerpt prompt: what is marked, and that hostile text can forge no marks."""

from neuroscribe.explain.highlights import highlight_messages


def last_question(excerpts: list[list[tuple[str, int]]]) -> str:
    return highlight_messages(excerpts)[-2].content


def test_tokens_at_half_the_maximum_or_more_are_marked_and_listed() -> None:
    excerpts = [[("the", 0), (" red", 10), (" car", 4)], [(" a", 0), (" blue", 5)]]

    assert last_question(excerpts) == ("Excerpts:\nthe<< red>> car\na<< blue>>\nMarked tokens: red, blue")


def test_marks_in_the_text_are_taken_apart() -> None:
    question = last_question([[("<", 0), ("<", 0), ("x", 0), (">>", 9)]])

    assert question == "Excerpts:\n< <x<<> >>>\nMarked tokens: > >"


def test_braces_in_the_text_stay_as_they_are() -> None:
    assert "{tokens}" in last_question([[("{tokens}", 3), ("y", 9)]])


def test_a_prompt_ends_with_the_beginning_of_the_answer() -> None:
    messages = highlight_messages([[("x", 9)]])

    roles = [message.role for message in messages]
    assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)]
    assert messages[-1].content == "In common:"
    assert all(m.content.startswith("In common: ") for m in messages[2:-1:2])
