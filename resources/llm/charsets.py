"""The text of what a server sends: JSON is UTF-8, but not everybody knows that."""

import codecs
import json

_TEXT = ("utf-8", "utf-16", "utf-32", "iso8859", "cp", "mac-", "koi8", "gb", "big5", "shift_jis", "euc")
"""How the codecs of texts are called; there are others, which unpack, or run escapes."""


def decoded(content: bytes, declared: str | None = None) -> str:
    """Return the text of a body of JSON.

    Its first bytes tell UTF-16 and UTF-32, and a mark that says so is left off. Else it is UTF-8, and only
    where that cannot be, what the server has `declared`: many declare Latin-1 and send UTF-8.
    """
    encoding = json.detect_encoding(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return content.decode(encoding if encoding != "utf-8" else _known(declared), errors="replace")


def _known(declared: str | None) -> str:
    """Return a declared encoding by its name here; UTF-8 where it is none of texts."""
    try:
        name = codecs.lookup(declared or "").name
    except (LookupError, ValueError):
        return "utf-8"
    return name if name.startswith(_TEXT) else "utf-8"
