"""No secret is left in a text, however it is spelled there, and ordinary text stays as it is."""

import base64
import html
import json
import pickle
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroscribe.errors import LLMError, NeuroscribeError
from neuroscribe.secrets import known
from neuroscribe.secrets.known import (
    Secret,
    blotted,
    know,
    know_variables,
    without_secrets,
    without_telling_causes,
)
from neuroscribe.secrets.spellings import Spelling

KEY = "sk-proj-Ab3dEf6hIj9l/nOp+Qr5tUvWx0Yz1Bc4"
ODD = 'sk-a/b"c\\d-0123-long'
know(KEY)
know(ODD)
know("first-secret-word")


def mixed(key: str) -> str:
    """A key whose letters are spelled in turn as they are, by JSON, by an address and by HTML."""
    ways = (str, lambda c: f"\\u{ord(c):04X}", lambda c: f"%{ord(c):02x}", lambda c: f"&#x{ord(c):X};")
    return "".join(ways[place % 4](letter) for place, letter in enumerate(key))


SPELLINGS = {
    "as it is": KEY,
    "JSON, all escaped": "".join(f"\\u{ord(c):04x}" for c in KEY),
    "JSON, in upper case": "".join(f"\\u{ord(c):04X}" for c in KEY),
    "JSON within JSON": json.dumps(json.dumps(json.dumps(KEY).replace("/", "\\/"))),
    "escaped by x": "".join(f"\\x{ord(c):02x}" for c in KEY),
    "an address": quote(KEY, safe=""),
    "an address, all escaped": "".join(f"%{ord(c):02X}" for c in KEY),
    "an address within an address": quote(quote(KEY, safe=""), safe=""),
    "HTML": "".join(f"&#{ord(c)};" for c in KEY),
    "a mixture": mixed(KEY),
    "hexadecimal": KEY.encode().hex(),
    "a beginning": KEY[:12],
    "an end": KEY[-8:],
    "a middle": KEY[5:25],
    "masked by asterisks": f"{KEY[:7]}********{KEY[-4:]}",
    "masked by dots": f"{KEY[:8]}...{KEY[-2:]}",
    "masked by an ellipsis": f"{KEY[:6]}…{KEY[-4:]}",
    **{
        f"base64 after {before} bytes": pack(b"x" * before + KEY.encode() + b"yz").decode()
        for before in range(4)
        for pack in (base64.b64encode, base64.urlsafe_b64encode)
    },
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_a_key_is_blotted_out_in_every_spelling(spelled: str):
    shown = blotted(f'{{"said": "no: {spelled} is wrong"}}')
    assert "[key]" in shown
    assert shown.startswith('{"said": "no: ')
    assert shown.endswith(' is wrong"}')
    read = html.unescape(Spelling(Spelling(shown).plain).plain)
    assert not any(KEY[start : start + 8] in read for start in range(len(KEY) - 7))


def test_a_key_with_quotes_and_backslashes_is_blotted_out_and_the_json_stays_whole():
    for text in (ODD, json.dumps({"said": ODD}), json.dumps(json.dumps([ODD]))):
        assert blotted(text) == text.replace(ODD, "[key]").replace(json.dumps(ODD)[1:-1], "[key]") or (
            "[key]" in blotted(text) and "long" not in blotted(text)
        )
    assert json.loads(blotted(json.dumps({"said": ODD}))) == {"said": "[key]"}


@pytest.mark.parametrize(
    "text",
    [
        "birds, sk and proj, sk-... and more",
        '{"a": "tab\\t, \\u00e9, 100%25, &#233; and \\\\ stay"}',
        "**** and xxxx and ....",
        KEY[:7],
        KEY[10:16],
    ],
)
def test_ordinary_text_stays_as_it_is(text: str):
    assert blotted(text) == text


def test_a_key_that_a_person_made_up_is_blotted_out_whole_and_its_words_stay():
    assert blotted("first-secret-word, a secret-word first") == "[key], a secret-word first"


def test_words_or_numbers_of_a_key_stay_where_they_are_no_part_of_it():
    know("research-cluster-key-2024")
    know("20240115-1234567890-ab1")
    text = "research on a research-cluster, research... since 20240115; sk-proj- 12345678 1234567890"
    assert blotted(text) == text
    said = "research-cluster-key-2024 research-clu***key-2024 20240115-1234567890-ab1"
    assert blotted(said) == "[key] [key] [key]"


@pytest.mark.parametrize("word", ["anything", "not-needed", "postgres", "lm-studio", "12345678"])
def test_a_key_that_is_a_word_changes_no_answer_and_is_in_no_message(
    word: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(known, "_KNOWN", {})
    know(word)
    assert blotted(f"{word} else") == f"{word} else"
    assert without_secrets(f"wrong: {word}") == "wrong: [key]"


@pytest.mark.parametrize("value", ["<|endoftext|>", "words for", "timestamp", "and some more words"])
def test_a_variable_that_is_called_like_a_key_changes_no_answer(value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(known, "_KNOWN", {})
    know_variables({"BOS_TOKEN": value})
    assert blotted(f"{value} else") == f"{value} else"
    assert without_secrets(f"wrong: {value}") == "wrong: [key]"


def test_a_long_text_in_place_of_a_key_takes_no_time():
    text = "words alone " * 400 + "7"
    assert set(Secret(text).spans(f"say {text}")) == {(4, 4 + len(text))}


@pytest.mark.parametrize("dummy", ["", "EMPTY", "none", "no-key"])
def test_short_dummies_are_no_secrets(dummy: str):
    know(dummy)
    assert blotted(f"an {dummy} shelf") == f"an {dummy} shelf"


@given(st.text(), st.text())
def test_what_stands_around_a_key_is_kept_letter_by_letter(before: str, after: str):
    spans = list(Secret(KEY).spans(Spelling(f"{before} {KEY} {after}").plain))
    assert spans
    if not set("\\%&*.…xX•·") & set(before + after):
        assert blotted(f"{before} {KEY} {after}") == f"{before} [key] {after}"


@given(st.text(alphabet='\\u0041x%25&#;"/n '))
def test_places_of_an_escaped_text_are_found_again(text: str):
    spelling = Spelling(text)
    places = [spelling.place(index) for index in range(len(spelling.plain) + 1)]
    assert places == sorted(set(places))
    assert (places[0], places[-1]) == (0, len(text))


def test_keys_and_passwords_of_the_environment_are_known_and_other_variables_are_not():
    know_variables(
        {
            "SOME_SERVICE_TOKEN": "tok-4711-0815-2342-abc",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEX",
            "HTTPS_PROXY": "http://me:proxy-pa%24sword@proxy:8080",
            "HF_TOKEN_PATH": "/etc/tokens/hf",
            "TOKEN": "/run/secrets/the-token",
            "KEYBOARD": "qwertzuiop",
        }
    )
    said = "tok-4711-0815-2342-abc wJalrXUtnFEMI/K7MDENG+bPxRfiCYEX proxy-pa$sword"
    assert without_secrets(said) == "[key] [key] [key]"
    assert blotted("/etc/tokens/hf /run/secrets/the-token qwertzuiop") == (
        "/etc/tokens/hf /run/secrets/the-token qwertzuiop"
    )


def test_no_error_of_ours_tells_a_secret():
    error = LLMError(f"http://me:pass/word@host?api_key=abc says {mixed(KEY)}")
    assert str(error) == "http://[hidden]@host?api_key=[hidden] says [key]"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(NeuroscribeError()) == ""


def test_a_chain_of_causes_ends_before_the_first_that_tells_a_secret():
    def chained(*texts: str) -> BaseException:
        errors: list[BaseException] = [OSError(text) for text in texts]
        for error, cause in pairwise(errors):
            error.__cause__ = cause
        return errors[0]

    def told(error: BaseException | None) -> list[str]:
        return [] if error is None else [str(error), *told(error.__cause__ or error.__context__)]

    assert told(without_telling_causes(chained("a", "b", f"c {KEY}", "d"))) == ["a", "b"]
    assert told(without_telling_causes(chained("a", "b"))) == ["a", "b"]
