"""What is secret in this process, and texts without it, however a server or a library spells it.

A key is found as it is, with escapes of any kind (`spellings.py`), in base64 at any place, in hexadecimal
digits, and in parts: eight characters of it in a row, or its beginning and end around asterisks or dots, as
servers quote it. Short keys, and such as people write by hand, are found only whole, and no part that is made
of words, or of numbers, is: it occurs in ordinary text. What a model answers loses only what was made by
chance, and keys that were sent and are more than a word (`anything`): a changed answer is a wrong one.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from neuroscribe.secrets.addresses import hidden, passwords_in
from neuroscribe.secrets.spellings import Spelling

BLOT = "[key]"
_SHORTEST = 8
"""Characters; shorter keys are dummies such as EMPTY, which occur in ordinary text."""
_PART = 8
"""Characters of a key in a row that tell too much of it."""
_PACKED_PART = 12
"""The same in base64, where four stand for three."""
_RANDOM = 16
"""Characters from which on a key with letters and digits is one that was made by chance."""
_ORDINARY = re.compile(r"[\W_]*(([A-Z]?[a-z]+|[A-Z]+)([\W_]+|$))*|[\W_0-9]*", re.ASCII)
"""Words alone, or numbers alone, such as people write."""
_WORD = re.compile(r"[\w.-]{1,15}", re.ASCII)
"""A key that a model may say by itself."""
_LONGEST_PART = 64
_END = 3
"""Characters on each side of a mask that do not stand there by chance."""
_MASK = re.compile(r"[*•·…]{2,}|\.{3,}|…|[xX]{4,}")
_MOST_MASKS = 1000
"""Of one text, so that one of nothing but masks takes no longer than others."""
_KEYS_VARIABLE = re.compile(r"(^|_)(API_?KEY|KEY_ID|ACCESS_KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD)$")

Span = tuple[int, int]


@dataclass(frozen=True)
class Secret:
    """One key or password."""

    text: str
    is_sent: bool = False
    """Whether servers are told it, so that their answers may quote it."""

    def spans(self, plain: str) -> Iterator[Span]:
        """Yield where a text, whose escapes are read, holds the secret or too much of it."""
        for form, parts in self._forms:
            for start, length in parts:
                yield from _runs(plain, form, start, length)
        if self._is_random:
            yield from self._masked(plain)

    @cached_property
    def is_quoted(self) -> bool:
        """Whether an answer that holds it quotes it: a model may say by itself what is short and plain."""
        is_word = bool(_WORD.fullmatch(self.text)) and _is_ordinary(self.text)
        return self._is_random or (self.is_sent and not is_word)

    @cached_property
    def _is_random(self) -> bool:
        has = (str.isalpha, str.isdigit)
        return len(self.text) >= _RANDOM and all(any(map(kind, self.text)) for kind in has)

    @cached_property
    def _forms(self) -> "list[tuple[str, list[Span]]]":
        """The ways to write it, each with the places and lengths of the parts that are looked for."""
        packed = {*_in_base64(self.text), self.text.encode().hex(), self.text.encode().hex().upper()}
        plain = Spelling(self.text).plain
        if not self._is_random:
            return [(form, [(0, len(form))]) for form in (plain, *sorted(packed)) if len(form) >= _SHORTEST]
        ends = [
            (form, [(0, _PACKED_PART), (len(form) - _PACKED_PART, _PACKED_PART)]) for form in sorted(packed)
        ]
        return [(plain, sorted(_telling_parts(plain))), *ends]

    def _masked(self, plain: str) -> Iterator[Span]:
        """Yield where the beginning and the end stand around a mask, as in `sk-abcd****wxyz`."""
        key = self._forms[0][0]
        if key[:3] not in plain and key[-3:] not in plain:
            return
        lengths = range(min(len(key), 64), 0, -1)
        for mask in islice(_MASK.finditer(plain), _MOST_MASKS):
            start, end = mask.span()
            before = next((n for n in lengths if plain.endswith(key[:n], 0, start)), 0)
            after = next((n for n in lengths if plain.startswith(key[-n:], end)), 0)
            # Ordinary text has words before an ellipsis as well.
            is_quoted = min(before, after) >= _END or not _is_ordinary(key[:before] + key[len(key) - after :])
            if before + after >= _PART and is_quoted:
                yield start - before, end + after


def _telling_parts(key: str) -> set[Span]:
    """Return the places and lengths of parts that ordinary text does not have, at every eighth character."""
    parts: set[Span] = set()
    for start in range(0, len(key), _PART):
        ends = range(start + _PART, min(start + _LONGEST_PART, len(key)) + 1)
        end = next((end for end in ends if not _is_ordinary(key[start:end])), None if start else len(key))
        parts |= {(start, end - start)} if end else set()
    starts = range(len(key) - _PART, max(0, len(key) - _LONGEST_PART), -1)
    start = next((start for start in starts if not _is_ordinary(key[start:])), 0)
    return parts | {(start, len(key) - start)}


def _is_ordinary(text: str) -> bool:
    return _ORDINARY.fullmatch(text) is not None


def _runs(plain: str, form: str, start: int, length: int) -> Iterator[Span]:
    """Yield where a part of a form stands in a text, with all of the form that stands around it."""
    start %= len(form)
    part, place = form[start : start + length], -1
    while (place := plain.find(part, place + 1)) >= 0:
        left = right = 0
        while left < min(start, place) and plain[place - left - 1] == form[start - left - 1]:
            left += 1
        end, rest = place + length, form[start + length :]
        while right < len(rest) and plain.startswith(rest[right], end + right):
            right += 1
        yield place - left, end + right
        place = end + right - 1


def _in_base64(text: str) -> Iterator[str]:
    """Yield what of a text's base64 is the same whatever stands around it, wherever it begins."""
    data = text.encode()
    for before in range(3):
        packed = base64.b64encode(bytes(before) + data).decode()
        shared_at_end = (0, 3, 2)[(before + len(data)) % 3]
        form = packed[(0, 2, 3)[before] : len(packed) - shared_at_end]
        yield from (form, form.replace("+", "-").replace("/", "_"))


_KNOWN: dict[str, Secret] = {}


def know(secret: str, *, is_sent: bool = True) -> None:
    """Take note of a key or password of this process; what is too short to be one is passed over."""
    if len(secret) >= _SHORTEST and (secret not in _KNOWN or is_sent):
        _KNOWN[secret] = Secret(secret, is_sent)


def know_variables(variables: Mapping[str, str]) -> None:
    """Take note of the keys among environment variables, and of the passwords in their addresses."""
    for name, value in variables.items():
        # A variable may name the file of a key instead.
        if _KEYS_VARIABLE.search(name.upper()) and not value.startswith(("/", "~", ".")):
            know(value.strip(), is_sent=False)
        for password in passwords_in(value):
            know(password, is_sent=False)


def blotted(text: str) -> str:
    """Return what a model answers without the secrets of this process that it can only have been told."""
    return _without(text, [secret for secret in _KNOWN.copy().values() if secret.is_quoted])


def _without(text: str, known: Sequence[Secret]) -> str:
    if not known:
        return text
    spelling = Spelling(text)
    parts: list[str] = []
    last = 0
    for start, end in _joined(span for secret in known for span in secret.spans(spelling.plain)):
        parts += text[last : spelling.place(start)], BLOT
        last = spelling.place(end)
    return "".join([*parts, text[last:]])


def without_secrets(text: str) -> str:
    """Return a message without the secrets of this process, and without those of any address in it."""
    return hidden(_without(text, list(_KNOWN.copy().values())))


def without_telling_causes(error: BaseException) -> BaseException:
    """Return an error whose chain of causes ends before the first that tells a secret.

    Dagster keeps and shows the texts of a whole chain, and texts of libraries cannot be changed.
    """
    link, seen = error, {id(error)}
    while (cause := link.__cause__ or link.__context__) is not None and id(cause) not in seen:
        if without_secrets(str(cause)) != str(cause):
            link.__cause__ = link.__context__ = None
            break
        seen.add(id(cause))
        link = cause
    return error


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield spans in order, those that overlap or touch as one."""
    last: Span | None = None
    for start, end in sorted(spans):
        if last is not None and start <= last[1]:
            last = last[0], max(last[1], end)
            continue
        if last is not None:
            yield last
        last = start, end
    if last is not None:
        yield last
