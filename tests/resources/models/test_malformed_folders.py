"""Model folders as people and attackers leave them: each ends in one message that says what to do."""

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from neuroscribe.errors import SubjectError
from neuroscribe.study.spec import SubjectSpec
from neuroscribe.subject.subject import Subject
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.tokenizers import byte_tokenizer
from resources.models.faults import explained
from resources.models.subject import SubjectModels


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    tokenizer = byte_tokenizer(chat=True)
    random_subject("llama", vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def opened(folder: Path) -> Subject:
    """Return what a study loads of a folder."""
    spec = SubjectSpec(model=str(folder), dtype="float32", layers=2, neurons_per_layer=24)
    cache = str(folder.parent / "cache")
    return SubjectModels(device="cpu", cache_dir=cache, hub=False, batch_tokens=64).open(spec)


def written(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Return what puts a content into a file of a folder."""
    return lambda folder: (
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode()) and None
    )


def changed(name: str, **values: Any) -> Callable[[Path], None]:
    """Return what sets values of a JSON file."""

    def change(folder: Path) -> None:
        table = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(table | values), encoding="utf-8")

    return change


def without(*names: str) -> Callable[[Path], None]:
    """Return what removes files."""

    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


def both(*steps: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for step in steps:
            step(folder)

    return change


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def a_folder_named(name: str) -> Callable[[Path], None]:
    return both(without(name), lambda folder: (folder / name).mkdir())


def torn(name: str, keep: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep]) and None


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    """Return what changes the weights."""

    def rewrite(folder: Path) -> None:
        held = load_file(folder / "model.safetensors")
        change(held)
        save_file(held, folder / "model.safetensors", metadata={"format": "pt"})

    return rewrite


def rules(**values: Any) -> Callable[[Path], None]:
    return changed("tokenizer.json", **values)


def pickled(value: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(value))

    return write


def packed_archive(folder: Path) -> None:
    """A zip of a few kilobytes that unpacks to a hundred megabytes."""
    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(10**8))


class Opaque:
    """Stands for anything but a tensor in a pickle."""


def sharded(shards: dict[str, str]) -> Callable[[Path], None]:
    index = json.dumps({"metadata": {}, "weight_map": shards})
    return both(without("model.safetensors"), written("model.safetensors.index.json", index))


def left_link(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to(folder / "gone")


DEEP = "[" * 100_000
DIGITS = "1" * 5_000
UP, DOWN, NORM = (
    f"model.layers.1.{name}.weight" for name in ("mlp.up_proj", "mlp.down_proj", "input_layernorm")
)

CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (empty, "no config.json; give a folder"),
    "no config": (without("config.json"), "no config.json; give a folder"),
    "config a list": (written("config.json", "[]"), r"config\.json cannot be read \(it holds a list"),
    "config torn": (torn("config.json", 40), r"config\.json cannot be read .*take the file anew"),
    "config a folder": (a_folder_named("config.json"), r"config\.json cannot be read \(no file"),
    "config deep": (written("config.json", '{"a":' + DEEP), "nested too deeply"),
    "config digits": (written("config.json", f'{{"hidden_size": {DIGITS}}}'), "Exceeds the limit"),
    "config latin": (
        written("config.json", b'{"model_type": "\xe9"}'),
        r"config\.json cannot be read .*utf-8",
    ),
    "config long": (written("config.json", b" " * 70_000_000), r"70 MB, more than any such file"),
    "no type": (written("config.json", "{}"), "check that .* holds a whole causal language model"),
    "unknown type": (changed("config.json", model_type="ours", auto_map={"AutoConfig": "x.Y"}), "never run"),
    "type a number": (changed("config.json", model_type=7), "check that"),
    "layers text": (changed("config.json", num_hidden_layers="many"), "its model cannot be loaded"),
    "layers negative": (changed("config.json", num_hidden_layers=-3), "leaves out 18 tensors"),
    "layers fewer": (changed("config.json", num_hidden_layers=1), r"leaves out 9 tensors .*layers\.1\."),
    "layers more": (changed("config.json", num_hidden_layers=3), r"lacks 9 tensors .*layers\.2\."),
    "layers many": (changed("config.json", num_hidden_layers=9_000), "take both from one source"),
    "layers by the million": (
        changed("config.json", num_hidden_layers=10**6),
        "asks for 1,000,000 num_hidden_layers",
    ),
    "layers of a part": (
        changed("config.json", text_config={"n_layer": 10**9}),
        r"asks for 1,000,000,000 text_config\.n_layer",
    ),
    "labels by the billion": (changed("config.json", num_labels=2**31), "2,147,483,648 num_labels"),
    "width a billion": (changed("config.json", hidden_size=10**9), "asks for more than .* parameters"),
    "inner a billion": (changed("config.json", intermediate_size=10**9), "asks for more than .* parameters"),
    "rows a billion": (changed("config.json", vocab_size=10**9), "asks for more than .* parameters"),
    "rows beyond": (changed("config.json", vocab_size=10**30), "its model cannot be loaded"),
    "width of another": (changed("config.json", intermediate_size=25), "not that of its weights"),
    "heads zero": (
        changed("config.json", num_attention_heads=0, head_dim=None),
        "its model cannot be loaded",
    ),
    "no such act": (changed("config.json", hidden_act="wish"), "KeyError: 'wish'"),
    "no such dtype": (changed("config.json", dtype="float77"), "float77"),
    "no such rope": (
        changed("config.json", rope_parameters={"rope_type": "wish", "rope_theta": 1e4}),
        "wish",
    ),
    "no attention": (changed("config.json", _attn_implementation="wish"), "wish"),
    "bias denied": (
        tensors(lambda held: held.update({UP.replace("weight", "bias"): torch.ones(24)})),
        "leaves out 1",
    ),
    "norm denied": (
        tensors(lambda held: held.update({"model.layers.0.self_attn.q_norm.weight": torch.ones(8)})),
        "q_norm",
    ),
    "wrong shape": (tensors(lambda held: held.update({DOWN: torch.ones(3, 4)})), "not that of its weights"),
    "a tensor less": (tensors(lambda held: held.pop(NORM)), "lacks 1 tensors .*input_layernorm"),
    "no weights": (without("model.safetensors"), "holds no weights .*give a whole copy"),
    "weights torn": (torn("model.safetensors", 100), "check that .* holds a whole"),
    "weights empty": (written("model.safetensors", b""), "check that .* holds a whole"),
    "weights a header": (written("model.safetensors", b"\xff" * 8), "check that .* holds a whole"),
    "weights pickled": (pickled({"a": Opaque()}), "save the weights as safetensors"),
    "weights a list": (pickled([1, 2]), "check that"),
    "weights text": (
        both(without("model.safetensors"), written("pytorch_model.bin", "hello")),
        "save the weights as safetensors",
    ),
    "weights packed": (packed_archive, r"pytorch_model\.bin is packed"),
    "weights of gguf": (
        both(without("model.safetensors"), written("m.gguf", "GGUF")),
        "GGUF files are read as pinned artefacts",
    ),
    "weights of keras": (both(without("model.safetensors"), written("tf_model.h5", "x")), "of other names"),
    "a shard missing": (sharded({"a": "one.safetensors", "b": "two.safetensors"}), "lacks 2 of the 2 files"),
    "a shard outside": (sharded({"a": "../one.safetensors"}), r"names \.\./one\.safetensors, outside of"),
    "index a list": (
        both(without("model.safetensors"), written("model.safetensors.index.json", '{"weight_map": []}')),
        "no `weight_map`",
    ),
    "an adapter": (written("adapter_config.json", "{}"), "merge it into the base model"),
    "no tokenizer": (
        without("tokenizer.json", "tokenizer_config.json"),
        "tokenizer cannot be loaded .*gives tokenizer.json",
    ),
    "sentencepiece alone": (
        both(without("tokenizer.json", "tokenizer_config.json"), written("tokenizer.model", b"\n\x03abc")),
        "gives tokenizer.json",
    ),
    "tokenizer torn": (torn("tokenizer.json", 300), r"its tokenizer cannot be loaded"),
    "tokenizer of a later version": (rules(model={"type": "Later", "vocab": {}}), "of another version"),
    "tokenizer decodes later": (rules(decoder={"type": "Later"}), "its tokenizer cannot be loaded"),
    "tokenizer a number": (written("tokenizer.json", "7"), "its tokenizer cannot be loaded"),
    "tokenizer deep": (written("tokenizer.json", '{"model":' + DEEP), "its tokenizer cannot be loaded"),
    "tokenizer latin": (written("tokenizer.json", b'{"\xe9": 1}'), "its tokenizer cannot be loaded"),
    "tokenizer a folder": (a_folder_named("tokenizer.json"), "no file, but a folder"),
    "tokenizer a dead link": (left_link, "no file, but a folder"),
    "tokenizer's ids": (
        rules(model={"type": "WordLevel", "vocab": {"a": 0, "b": 2**31}, "unk_token": "a"}, added_tokens=[]),
        "the id 2,147,483,648",
    ),
    "tokenizer config a list": (
        written("tokenizer_config.json", "[1]"),
        r"tokenizer_config\.json cannot be read",
    ),
    "tokenizer config types": (
        changed("tokenizer_config.json", eos_token=[1]),
        "its tokenizer cannot be loaded",
    ),
    "generation config torn": (torn("generation_config.json", 5), r"generation_config\.json cannot be read"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_folder_ends_in_one_message_with_a_remedy(case: str, whole: Path, tmp_path: Path) -> None:
    spoil, wanted = CASES[case]
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    spoil(folder)

    with pytest.raises(SubjectError, match=wanted) as raised:
        opened(folder)

    assert str(folder) in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert "\n" not in str(raised.value)


def test_the_whole_folder_opens(whole: Path) -> None:
    subject = opened(whole)
    assert subject.model.config.model_type == "llama"
    assert subject.tokenizer.encode("ab<|end|>") == [64, 65, *subject.tokenizer.encode("<|end|>")]


def test_an_open_editor_s_lock_shuts_no_model_out(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    (folder / ".#config.json").symlink_to("user@host.1:2")
    assert opened(folder).revision == opened(whole).revision


def test_an_interrupt_while_a_model_loads_is_no_fault_of_the_model() -> None:
    class Interrupted(BaseException):
        """As Dagster's, which derives from no Exception."""

    with pytest.raises(Interrupted), explained("a", "model", "take another"):
        raise Interrupted
