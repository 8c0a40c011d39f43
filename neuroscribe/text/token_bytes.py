"""The exact bytes behind every token id, from the rules that a tokenizer itself uses to decode.

Byte-level BPE and SentencePiece with byte fallback are exact: the bytes of an encoded text joined are the
text's UTF-8 (after the tokenizer's own normaliser, and with the space SentencePiece may put in front).
WordPiece keeps neither case nor white space, so its bytes are an approximation: one space before each word.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neuroscribe.errors import SubjectError


@dataclass(frozen=True)
class TokenizerFacts:
    """What the core needs to know of a tokenizer."""

    encode: Callable[[str], list[int]]
    """Token ids of a text, nothing added; text that looks like a special token stays text."""
    token_bytes: tuple[bytes, ...]
    """The exact bytes of every id."""
    special_ids: frozenset[int]
    identity: str
    """Hash of the tokenizer's serialised form."""


LARGEST_ID = 2**24
"""The largest vocabularies have about a million tokens."""
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def tokenizer_facts(tokenizer: Any) -> TokenizerFacts:
    """Return the facts of a Hugging Face fast tokenizer; raises SubjectError for one without a fast form."""
    serialised: str = _serialised(tokenizer)
    added: list[dict[str, Any]] = json.loads(serialised)["added_tokens"]
    special = {int(token["id"]) for token in added if token["special"]} | set(tokenizer.all_special_ids)

    return TokenizerFacts(
        encode=encoding(serialised),
        token_bytes=token_bytes(tokenizer),
        special_ids=frozenset(special),
        identity=hashlib.sha256(serialised.encode()).hexdigest(),
    )


def plain_encoding(tokenizer: Any) -> Callable[[str], list[int]]:
    """Return the function from a text to token ids in which no text becomes a token of control.

    Such are the special tokens and, of the others that were added to the vocabulary, those with brackets or
    bars in their names, which chat templates use as well; words and runs of spaces stay tokens.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        return lambda text: tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    rules: dict[str, Any] = json.loads(_serialised(tokenizer))
    for token in rules["added_tokens"]:
        token["special"] |= _CONTROL.search(token["content"]) is not None
    return encoding(json.dumps(rules))


_CONTROL = re.compile(r"[<>\[\]{}|｜]")


def encoding(serialised: str) -> Callable[[str], list[int]]:
    """Return a tokenizer's encoding, nothing added; text that looks like a special token stays text."""
    from tokenizers import Tokenizer

    # A copy, since the original's options change whenever someone else encodes with it.
    backend: Any = Tokenizer.from_str(serialised)
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True  # the name means: split text that looks like a special token
    return lambda text: backend.encode(text, add_special_tokens=False).ids


def token_bytes(tokenizer: Any) -> tuple[bytes, ...]:
    """Return the bytes of each id from 0 to the tokenizer's largest; ids without a token have no bytes.

    Raises SubjectError for a tokenizer whose way of decoding is not known here, or an id beyond all reason.
    """
    rules: dict[str, Any] = json.loads(_serialised(tokenizer))
    spelled = _spelling(rules)
    table = {identifier: spelled(token) for token, identifier in _backend(tokenizer).get_vocab().items()}
    byte_level = "ByteLevel" in _parts(rules)
    for token in rules["added_tokens"]:
        # Special tokens, and all added ones of byte-level tokenizers, are matched in the text as they stand.
        if token["special"] or byte_level:
            table[token["id"]] = token["content"].encode()
    return tuple(table.get(identifier, b"") for identifier in range(max(table, default=-1) + 1))


def display(token: bytes) -> str:
    """Return a token's bytes for people: valid UTF-8 as it is, any other byte in hexadecimal."""
    return token.decode("utf-8", errors="backslashreplace")


def _backend(tokenizer: Any) -> Any:
    if tokenizer is None:
        raise SubjectError("there is no tokenizer; give the one of the model's own repository and revision")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise SubjectError(
            f"tokenizer {type(tokenizer).__name__} has no fast form (tokenizer.json), which tells the exact"
            " bytes of tokens; choose a revision that has one or convert it with transformers"
        )
    return backend


def _serialised(tokenizer: Any) -> str:
    """Return a tokenizer's rules as JSON; raises SubjectError for an id beyond reason.

    All ids up to the largest are walked through where they are written.
    """
    vocabulary: dict[str, int] = _backend(tokenizer).get_vocab()
    if (largest := max(vocabulary.values(), default=-1)) > LARGEST_ID:
        raise SubjectError(
            f"the tokenizer gives a token the id {largest:,}, of {len(vocabulary):,} tokens; its file is"
            " damaged: take tokenizer.json anew from the model's source"
        )
    return _backend(tokenizer).to_str()


def _parts(rules: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the decoder's steps by type, and the pre-tokenizer's where the decoder has no such step."""
    parts: dict[str, dict[str, Any]] = {}
    waiting: list[dict[str, Any]] = [rules[stage] for stage in ("decoder", "pre_tokenizer") if rules[stage]]
    while waiting:
        part = waiting.pop(0)
        waiting = [*part.get("decoders", []), *part.get("pretokenizers", []), *waiting]
        parts.setdefault(part["type"], part)
    return parts


def _spelling(rules: dict[str, Any]) -> Callable[[str], bytes]:
    """Return the function from a vocabulary entry to its bytes."""
    parts = _parts(rules)
    if "ByteLevel" in parts:
        return _byte_level
    if "Metaspace" in parts:
        return _with_spaces(str(parts["Metaspace"]["replacement"]))
    replaced = parts.get("Replace", {})
    if replaced.get("content") == " " and "String" in replaced["pattern"]:
        return _with_spaces(str(replaced["pattern"]["String"]))
    if "WordPiece" in parts:
        return _word_pieces(str(parts["WordPiece"]["prefix"]))
    if "BPEDecoder" in parts:
        suffix = str(parts["BPEDecoder"]["suffix"])
        return lambda token: token.replace(suffix, " ").encode()
    if rules["decoder"] is None:
        return str.encode
    raise SubjectError(
        f"the tokenizer decodes by {', '.join(sorted(parts))}, whose bytes are not known here; byte-level,"
        " SentencePiece and WordPiece tokenizers are: choose a subject with one of these"
    )


def _byte_level(token: str) -> bytes:
    """Undo GPT-2's spelling, in which one printable character stands for each byte."""
    try:
        return bytes(_PRINTABLE[character] for character in token)
    except KeyError:
        return token.encode()


def _with_spaces(marker: str) -> Callable[[str], bytes]:
    """Undo SentencePiece's spelling: a marker for each space, <0xNN> for single bytes."""

    def spelled(token: str) -> bytes:
        if byte := _BYTE_TOKEN.fullmatch(token):
            return bytes.fromhex(byte[1])
        return token.replace(marker, " ").encode()

    return spelled


def _word_pieces(prefix: str) -> Callable[[str], bytes]:
    """Undo WordPiece's spelling as far as it can be: the prefix marks a piece inside a word."""

    def spelled(token: str) -> bytes:
        return (token.removeprefix(prefix) if token.startswith(prefix) else f" {token}").encode()

    return spelled


def _printable() -> dict[str, int]:
    """Return GPT-2's map: printable bytes stand for themselves, the others follow from U+0100 in order."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + n): byte for n, byte in enumerate(hidden)}


_PRINTABLE = _printable()
