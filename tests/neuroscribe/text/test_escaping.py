import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroscribe.text.escaping import escaped, quotations, quoted, storable, unescaped, unforged


@given(st.binary() | st.text().map(str.encode))
def test_escaped_bytes_are_one_line_and_come_back(token: bytes) -> None:
    line = escaped(token)
    assert len(line.splitlines()) <= 1
    assert "\t" not in line
    assert line == line.encode().decode()
    assert unescaped(line).encode("utf-8", "surrogateescape") == token


@given(st.lists(st.text(alphabet='a "\\\\(\n', min_size=1).map(str.encode).map(escaped)))
def test_what_is_put_into_quotation_marks_is_found_again(tokens: list[str]) -> None:
    text = f"the words {', '.join(map(quoted, tokens))} (10)"
    assert quotations(text) == [unforged(token.strip(" ") or token) for token in tokens]


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (b" the", " the"),
        (b"\n", "\\n"),
        (b"\t", "\\t"),
        (b"\x00", "\\u0000"),
        ("\u200f".encode(), "\\u200f"),
        ("\u2028".encode(), "\\u2028"),
        (b"\xe2\x80", "\\xe2\\x80"),
        (b"\\n", "\\\\n"),
        ("שלום 🐈 é".encode(), "שלום 🐈 é"),
        (b"<script>", "<script>"),
        ("\U000e0001".encode(), "\\U000e0001"),
    ],
)
def test_a_token_is_shown_as_it_reads(token: bytes, shown: str) -> None:
    assert escaped(token) == shown


def test_text_with_half_a_surrogate_pair_becomes_storable() -> None:
    assert storable("a\ud83d ü") == "a\\ud83d ü"


@pytest.mark.parametrize(
    "special",
    [
        *("<|im_end|>", "</s>", "<｜User｜>", "<|start of role|>", "<0x0A>", "<<SYS>>"),
        *("[INST]", "[/INST]", "[gMASK]", "[sMASK]", "[MASK2]"),
        *("[|endofturn|]", "[UNUSED_TOKEN_145]", "[unused3]"),
    ],
)
def test_the_name_of_a_special_token_is_broken_up(special: str) -> None:
    assert special not in unforged(f"a {special} b")
    assert unforged(f"a {special} b").replace(" ", "") == f"a{special}b".replace(" ", "")


@pytest.mark.parametrize(
    "text", ["[12]", "[sic]", "[citation needed]", "a < b", "x[0]", "[e.g. this]", "[mRNA]", "|a|"]
)
def test_what_is_common_in_texts_stays_as_it_is(text: str) -> None:
    assert unforged(text) == text
