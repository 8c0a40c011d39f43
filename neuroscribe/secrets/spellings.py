r"""A text read through the ways of writing a character, with the way back to where each one stood.

JSON may write `k` as `\u006b`, an address as `%6b`, HTML as `&#107;`, and each of them once more within
another. Read so, a key is one run of characters, whatever mixture it came in.
"""

import re
from array import array
from bisect import bisect_right

_ESCAPE = re.compile(
    r"\\+u([0-9a-fA-F]{4})|\\+x([0-9a-fA-F]{2})|%(?:25)*([0-9a-fA-F]{2})"
    r"|&#[xX]0{0,6}([0-9a-fA-F]{1,4});|&#0{0,6}([0-9]{1,4});|\\+([^\\\w\s])|\\(\\)+"
)


class Spelling:
    """A text whose escapes are read, in `plain`."""

    def __init__(self, text: str) -> None:
        parts: list[str] = []
        # Arrays, for a hostile text is escapes all through.
        self._after, self._written = array("q", [0]), array("q", [0])
        length = last = 0
        for escape in _ESCAPE.finditer(text):
            parts += text[last : escape.start()], _character(escape)
            length += escape.start() - last + 1
            last = escape.end()
            self._after.append(length)
            self._written.append(last)
        self.plain = "".join([*parts, text[last:]]) if parts else text

    def place(self, index: int) -> int:
        """Return where the character at an index of `plain` begins in the text as it was written."""
        before = bisect_right(self._after, index) - 1
        return self._written[before] + index - self._after[before]


def _character(escape: "re.Match[str]") -> str:
    """Return the one character that an escape stands for."""
    *hexadecimal, decimal, itself, backslash = escape.groups()
    if itself or backslash:
        return itself or backslash
    return chr(int(decimal) if decimal else int(next(filter(None, hexadecimal)), 16))
