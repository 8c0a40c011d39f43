"""Secrets inside of addresses: `http://user:password@host`, `s3://key:secret@bucket`, `?api_key=...`."""

import re
from collections.abc import Iterator
from urllib.parse import unquote

HIDDEN = "[hidden]"
_END = "\\s\"'<>\\\\"
"""What ends an address within a text, as part of a character class."""
_USERINFO = re.compile(
    rf"(?P<scheme>\b[A-Za-z][\w+.-]{{0,30}}://)(?P<secret>[^{_END}/?#]{{0,255}}"
    # A password that nobody escaped may hold a slash, as those of S3 mostly do. A port is none.
    rf"|(?<=s3://)[^{_END}/?#@:]{{0,99}}:[^{_END}]{{0,255}}"
    rf"|[^{_END}/?#@:\[]{{0,99}}:(?!\d{{1,5}}(?:[/?#{_END}]|$))[^{_END}]{{0,255}})@"
)
_PARAMETER = re.compile(rf"(?<=[?&;#])(?P<name>[\w%.~-]{{1,99}})=(?P<secret>[^&;#{_END}]+)")
_WORDS = frozenset(["auth", "authorization", "credential", "credentials", "jwt", "pwd", "passwd", "sig"])
_ENDINGS = ("token", "secret", "password", "signature")
_KEY = re.compile(
    r"(.*(api|app|access|account|auth|client|license|private|secret|shared|subscription))?key(id)?"
)
"""Others are keys to sort by, or monkeys."""
_LONGEST_NAME = 8
"""Characters of a name without a password: `git@host` tells no secret, while a longer one may be a token."""
_REMEDY = (
    "take it out (keys are read from NEUROSCRIBE_LLM_API_KEY, NEUROSCRIBE_SIMULATOR_LLM_API_KEY and"
    " NEUROSCRIBE_PARAPHRASER_LLM_API_KEY, those of S3 from"
    " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, that of a model hub from HF_TOKEN)"
)


def hidden(text: str) -> str:
    """Return a text with the secrets of all addresses in it hidden."""
    if "://" in text and "@" in text:
        text = _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    return _PARAMETER.sub(_without_value, text) if "=" in text else text


def fault_of(text: str) -> str | None:
    """Return what is wrong with an address, or a text with one, that holds a secret; None for others."""
    found = next(_kinds(text), None)
    shown = "which messages and datasets would show"
    return None if found is None else f"{hidden(text)!r} holds {found}, {shown}; {_REMEDY}"


def passwords_in(text: str) -> Iterator[str]:
    """Yield the passwords, and the values of secret parameters, of all addresses in a text."""
    if "://" not in text:
        return
    for found in _USERINFO.finditer(text) if "@" in text else ():
        name, colon, password = found["secret"].partition(":")
        yield unquote(password if colon else name)
    yield from (found["secret"] for found in _secret_parameters(text))


def _kinds(text: str) -> Iterator[str]:
    if "://" not in text:
        return
    for found in _USERINFO.finditer(text) if "@" in text else ():
        if ":" in found["secret"] or len(found["secret"]) > _LONGEST_NAME:
            yield "a name or a password"
    yield from (f"the parameter `{found['name']}`" for found in _secret_parameters(text))


def _secret_parameters(text: str) -> "Iterator[re.Match[str]]":
    return (found for found in _PARAMETER.finditer(text) if _is_secret(found["name"]))


def _without_value(found: "re.Match[str]") -> str:
    return f"{found['name']}={HIDDEN}" if _is_secret(found["name"]) else found[0]


def _is_secret(name: str) -> bool:
    """Tell whether a parameter's name says that its value is a secret, as in `X-Amz-Signature`, `apiKey`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", unquote(name)).lower()
    words = re.split(r"[^a-z0-9]+", spaced)
    if any(word in _WORDS or word.endswith(_ENDINGS) for word in words):
        return True
    return _KEY.fullmatch("".join(words)) is not None
