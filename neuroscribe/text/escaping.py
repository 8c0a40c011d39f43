"""Writes hostile text so that it fits on one line of a prompt and can be read back byte for byte."""

import re
import unicodedata

_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}
_MEANT = {written: character for character, written in _NAMED.items()}
_ESCAPE = re.compile(r"\\(?:[ntr\\]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def escaped(token: bytes) -> str:
    r"""Return a token's bytes as one line of printable text.

    Line breaks, tabs, control and format characters (right-to-left marks among them) and backslashes become
    backslash escapes; bytes that are no UTF-8 become \xNN.
    """
    text = token.decode("utf-8", errors="surrogateescape")
    return "".join(_character(character) for character in text)


def unescaped(text: str) -> str:
    """Return the text that was `escaped`; bytes that are no UTF-8 become halves of surrogate pairs."""
    return _ESCAPE.sub(lambda found: _MEANT.get(found[0]) or _meant(found[0]), text)


def storable(text: str) -> str:
    """Return text that UTF-8 can carry: halves of surrogate pairs become backslash escapes."""
    return text.encode("utf-8", errors="backslashreplace").decode()


_OPENING = re.compile(r"<(?=<|[^<>\s]*>|[|｜][^<>\n]{0,60}[|｜]>)")
_BRACKET = re.compile(
    r"\[(?=(?:/?[A-Z_]+|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[a-z]{0,3}MASK\d*|unused_?\d+|\|[^\[\]\s]*\|)\])"
)
"""Bracketed names that vocabularies use: [INST], [UNUSED_TOKEN_145], [gMASK], [unused3], [|endofturn|]. Not
[12] or [sic], which are common in texts."""


def unforged(text: str) -> str:
    """Return corpus text that can form neither marks (<< >>) nor a model's special tokens.

    Spaces go between "<" and "<" and between ">" and ">", and into "<|im_end|>", "</s>", "[INST]" and their
    like: servers, whose tokenizers are not known here, may read such strings as turns even inside a message.
    What a local model reads cannot become one, whatever its name: `plain_encoding` (token_bytes.py).
    """
    text = _OPENING.sub("< ", text)
    text = re.sub(r"(?<=>)>", " >", text)
    return _BRACKET.sub("[ ", text)


def quoted(token: str) -> str:
    """Return an escaped token in quotation marks, without outer spaces unless it is all spaces."""
    core = unforged(token.strip(" ") or token)
    return '"' + core.replace('"', '\\"') + '"'


QUOTED = r'"((?:[^"\\]|\\.)*)"'
"""What stands in quotation marks; those inside it, and every backslash, stand after a backslash."""


def quotations(text: str) -> list[str]:
    """Return what a text holds in quotation marks, as it was before `quoted`, still escaped."""
    return [each.replace('\\"', '"') for each in re.findall(QUOTED, text)]


def _character(character: str) -> str:
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return character


def _meant(escape: str) -> str:
    """Return the character that a numbered escape stands for; numbers beyond Unicode stay as written."""
    code = int(escape[2:], 16)
    if code > 0x10FFFF:
        return escape
    return chr(code + 0xDC00 if escape[1] == "x" and code >= 0x80 else code)
