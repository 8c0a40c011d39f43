"""A tokenizer of a class that builds its own rules is told from one that follows its file."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from neuroscribe.errors import SubjectError
from neuroscribe.testing.tokenizers import byte_tokenizer
from neuroscribe.text.token_bytes import tokenizer_facts
from neuroscribe.text.token_rules import check_rules

TEXT = "a rain of 12 snow"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file whose merges join a letter and a space, and settings that name a class that never does."""
    byte_tokenizer(["a ", "12"]).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "GPT2Tokenizer"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    return tmp_path


def test_rules_that_a_class_made_up_are_refused_with_the_remedy(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer).__name__ == "GPT2Tokenizer"

    with pytest.raises(SubjectError, match=r"GPT2Tokenizer splits 'a rain.*PreTrainedTokenizerFast"):
        check_rules(tokenizer, tokenizer_facts(tokenizer), [TEXT])


def test_rules_of_the_file_and_tokenizers_without_one_pass(folder: Path) -> None:
    for tokenizer in (PreTrainedTokenizerFast.from_pretrained(folder), byte_tokenizer()):
        check_rules(tokenizer, tokenizer_facts(tokenizer), [TEXT])


def test_a_tokenizer_that_was_changed_on_purpose_passes_under_no_name(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.name_or_path = ""
    check_rules(tokenizer, tokenizer_facts(tokenizer), [TEXT])
