import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroscribe.escaping import escaped, storable

NAMED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


def unescaped(text: str) -> bytes:
    """Undo the escapes, one after the other."""

    def byte_or_character(found: re.Match[str]) -> str:
        match found[0][1]:
            case "x":
                return chr(0xDC00 + int(found[0][2:], 16))
            case "u" | "U":
                return chr(int(found[0][2:], 16))
            case letter:
                return NAMED[letter]

    plain = re.sub(r"\\(x..|u....|U........|.)", byte_or_character, text, flags=re.DOTALL)
    return plain.encode("utf-8", "surrogateescape")


@given(st.binary() | st.text().map(str.encode))
def test_escaped_bytes_are_one_line_and_come_back(token: bytes) -> None:
    line = escaped(token)
    assert len(line.splitlines()) <= 1
    assert "\t" not in line
    assert line == line.encode().decode()
    assert unescaped(line) == token


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
