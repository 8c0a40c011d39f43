from neuroscribe.ports.replies import Message, as_text


def test_turns_are_parted_by_blank_lines_and_a_stub_ends_the_text():
    messages = [
        Message("system", "Be brief."),
        Message("user", "cat\t9\ndog\t8"),
        Message("assistant", "This neuron fires on"),
    ]
    assert as_text(messages) == "Be brief.\n\ncat\t9\ndog\t8\n\nThis neuron fires on"


def test_without_a_stub_the_answer_opens_a_paragraph():
    assert as_text([Message("assistant", "Yes."), Message("user", "And now?")]) == "Yes.\n\nAnd now?\n\n"


def test_only_the_last_assistant_message_is_a_stub():
    messages = [Message("user", "1"), Message("assistant", "one"), Message("user", "2")]
    assert as_text(messages) == "1\n\none\n\n2\n\n"
