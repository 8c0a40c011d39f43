"""Model folders changed at random: each opens, or ends in an error of ours, soon and without giant memory."""

import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroscribe.errors import NeuroscribeError
from neuroscribe.study.spec import SubjectSpec
from neuroscribe.testing.random_subjects import LAYERS, NEURONS, random_subject
from neuroscribe.testing.tokenizers import byte_tokenizer
from resources.models.subject import SubjectModels

FAMILIES = ("llama", "gpt2", "gemma2", "gpt_neox", "mpt")
LARGE = (2**31, 2**63, 10**6, 10**9, 10**18, 10**40)
NUMBERS = (0, -1, 1, 3, 7, 0.5, 1e308, float("nan"), float("inf"), *LARGE)
LONG = "9" * 5000
WORDS = ("", "x", "..", "/etc/passwd", "a\0b", "\ud800", "auto", "float32", "<|end|>", "{% for %}", LONG)
KEYS = (
    *("auto_map", "quantization_config", "text_config", "rope_parameters", "layer_types", "torch_dtype"),
    *("transformers_weights", "attn_implementation", "tokenizer_class", "added_tokens_decoder", "num_labels"),
    *("fast_tokenizer_files", "extra_special_tokens", "post_processor", "vocab_file", "num_layers"),
)

values = st.recursive(
    st.sampled_from((*NUMBERS, *WORDS, None, True)) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def folders() -> Iterator[dict[str, Path]]:
    with tempfile.TemporaryDirectory() as root:
        made = {family: Path(root) / family for family in FAMILIES}
        tokenizer = byte_tokenizer(["th", "the"], begins=True, chat=True)
        for family, folder in made.items():
            random_subject(family, vocab_size=len(tokenizer)).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        yield made


def test_the_folders_open_as_they_are(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        open_it(folder)


@given(st.data())
def test_a_folder_changed_at_random_opens_or_ends_in_our_error(folders: dict[str, Path], data: Any) -> None:
    with tempfile.TemporaryDirectory() as place:
        family = data.draw(st.sampled_from(FAMILIES))
        folder = Path(shutil.copytree(folders[family], Path(place) / "model"))
        for _ in range(data.draw(st.integers(1, 3))):
            change(folder, data)
        assert len(said(folder)) < 2000


def said(folder: Path) -> str:
    """Return the message that opening a folder ends in, or nothing; any other exception is a fault."""
    try:
        open_it(folder)
    except NeuroscribeError as error:
        return str(error)
    return ""


def open_it(folder: Path) -> None:
    spec = SubjectSpec(model=str(folder), dtype="float32", layers=LAYERS, neurons_per_layer=NEURONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SubjectModels(device="cpu", cache_dir=str(folder.parent / "cache"), hub=False).open(spec)


def change(folder: Path, data: Any) -> None:
    """Change one file of a folder: its JSON, its bytes, or what lies in its place."""
    file = data.draw(st.sampled_from(sorted(path for path in folder.iterdir() if path.is_file())))
    kinds = [change_bytes, change_bytes, replace_file]
    kinds += [change_json] * 6 * (file.suffix == ".json")
    data.draw(st.sampled_from(kinds))(file, data)


def change_json(file: Path, data: Any) -> None:
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return
    spot = table
    while True:
        if isinstance(spot, dict) and spot:
            key = data.draw(st.sampled_from(sorted(spot)) | st.sampled_from(KEYS))
        elif isinstance(spot, list) and spot:
            key = data.draw(st.integers(0, len(spot) - 1))
        else:
            break
        held = spot.get(key) if isinstance(spot, dict) else spot[key]
        if isinstance(held, dict | list) and held and data.draw(st.booleans()):
            spot = held
            continue
        if data.draw(st.integers(0, 9)) == 0:
            spot.pop(key, None) if isinstance(spot, dict) else spot.pop(key)
        else:
            spot[key] = data.draw(values)
        break
    file.write_text(json.dumps(table), encoding="utf-8")


def change_bytes(file: Path, data: Any) -> None:
    held = bytearray(file.read_bytes())
    start = data.draw(st.integers(0, len(held)))
    match data.draw(st.sampled_from(("cut", "insert", "flip", "double"))):
        case "cut":
            del held[start:]
        case "insert":
            held[start:start] = data.draw(
                st.binary(max_size=20) | st.just(b"[" * 3000) | st.just(b"1" * 6000)
            )
        case "flip" if start < len(held):
            held[start] ^= data.draw(st.integers(1, 255))
        case _:
            held[start:start] = held[:1000]
    file.write_bytes(held)


def replace_file(file: Path, data: Any) -> None:
    file.unlink()
    match data.draw(st.sampled_from(("gone", "folder", "link", "loop", "empty"))):
        case "folder":
            file.mkdir()
        case "link":
            file.symlink_to("/dev/zero")
        case "loop":
            file.symlink_to(file)
        case "empty":
            file.touch()
        case _:
            pass
