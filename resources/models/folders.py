"""What lies in a local model's folder: checked before anything is built of it, and hashed byte for byte."""

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroscribe.errors import SubjectError
from neuroscribe.fingerprint import fingerprint
from resources.models.artefacts import sha256_of

LARGEST_JSON = 64 * 2**20
"""Bytes of a configuration or an index; those of the largest models take a few MB."""
LARGEST_TOKENIZER = 2**30
"""Bytes of a tokenizer.json; the largest known take 40 MB."""
_READ = ("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json",
         "added_tokens.json", "preprocessor_config.json")  # fmt: skip
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
            "pytorch_model.bin.index.json")  # fmt: skip
"""In the order in which transformers looks for them."""
_OTHERS = (".safetensors", ".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack")
_COUNT = re.compile(
    r"(?:^|_)(?:n|num)_(?:\w+_)?(?:layers?|blocks?|labels)$|(?:^|_)(?:layers|blocks|depth|labels)$"
)
_MORE_LAYERS = 10_000
"""How many of these may be stated beyond the tensors there are, which are compared later."""


@dataclass(frozen=True)
class Weights:
    """What a folder's weights can fill."""

    tensors: int
    bytes: int


UNKNOWN = Weights(tensors=20_000, bytes=2**42)
"""Stands for weights that are not here yet, as those of a hub's repository."""


def check_folder(name: str, folder: Path) -> dict[str, Any]:
    """Return a folder's configuration; raises SubjectError for what no model can be, before it is read.

    All JSON files that transformers reads must be readable tables of bounded size, and a configuration may
    not state layers by the million, which would be built before anybody asks for their weights.
    """
    if (folder / "adapter_config.json").exists():
        raise SubjectError(
            f"{name}: {folder} holds an adapter (adapter_config.json), whose base model lies elsewhere; merge"
            " it into the base model (peft's merge_and_unload) and save that, or remove adapter_config.json"
            " where the weights are merged already"
        )
    for path in folder.glob("*.json"):
        # A link to nothing that begins with a dot is an open editor's lock.
        if not path.name.startswith(".") and not path.is_file():
            raise _unreadable(name, path, "no file, but a folder, a device or a link to nothing")
    if _size(folder / "tokenizer.json") > LARGEST_TOKENIZER:
        raise _too_large(name, folder / "tokenizer.json")
    files = {file: read_table(name, folder / file) for file in _READ if (folder / file).exists()}
    if "config.json" not in files:
        raise SubjectError(
            f"{name}: {folder} has no config.json; give a folder with a whole causal language model in"
            " Hugging Face's form"
        )
    check_layers(name, files["config.json"], UNKNOWN)
    return files["config.json"]


def check_layers(name: str, config: dict[str, Any], weights: Weights) -> None:
    """Raise SubjectError where a configuration states far more layers than there are tensors."""
    for key, count in _counts(config):
        if count > weights.tensors + _MORE_LAYERS:
            raise SubjectError(
                f"{name}: config.json asks for {count:,} {key}, but its weights hold no more than"
                f" {weights.tensors:,} tensors; take both from one source"
            )


def weights_of(name: str, folder: Path, config: dict[str, Any]) -> Weights:
    """Return what a folder's weights can fill, from their headers alone.

    Raises SubjectError where there are none, shards are missing or lie elsewhere, an archive is packed (as
    torch never does), or the configuration states far more layers than there are tensors.
    """
    files = _weight_files(name, folder, config)
    weights = Weights(sum(map(_tensors, files)), sum(map(_size, files)))
    check_layers(name, config, weights)
    return weights


def read_table(name: str, path: Path) -> dict[str, Any]:
    """Return a JSON file's table; raises SubjectError naming the file and what is wrong with it."""
    if _size(path) > LARGEST_JSON:
        raise _too_large(name, path)
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise _unreadable(name, path, "nested too deeply") from error
    except (OSError, ValueError) as error:
        raise _unreadable(name, path, str(error)) from error
    if not isinstance(table, dict):
        raise _unreadable(name, path, f"it holds a {type(table).__name__}, no table")
    return table


def folder_identity(folder: Path) -> str:
    """Return the hash of all files below a model folder, by name; links are followed, to folders as well."""
    files = sorted(_files(folder, ()))
    hashes = [(path.relative_to(folder).as_posix(), sha256_of(path)) for path in files]
    return f"sha256:{fingerprint(hashes)}"


def _files(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Yield all files below a folder; a link back to a folder above (by its real path) is not entered."""
    real = folder.resolve()
    if real in above:
        return
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files(path, (*above, real))
        elif path.is_file():
            yield path


def _weight_files(name: str, folder: Path, config: dict[str, Any]) -> list[Path]:
    named = config.get("transformers_weights")
    candidates = (named,) if isinstance(named, str) else _WEIGHTS
    file = next((folder / each for each in candidates if (folder / each).is_file()), None)
    if file is None:
        raise SubjectError(
            f"{name}: {folder} holds no weights ({' or '.join(candidates)}); {_no_weights(folder)}"
        )
    return _shards(name, file) if file.name.endswith(".index.json") else [file]


def _no_weights(folder: Path) -> str:
    if any(folder.glob("*.gguf")):
        return "GGUF files are read as pinned artefacts alone; give the model in Hugging Face's form"
    if any(path.suffix in _OTHERS for path in folder.iterdir()):
        return "weights of other names or programs are not read; save the model by save_pretrained"
    return "give a whole copy of the model"


def _shards(name: str, index: Path) -> list[Path]:
    """Return the files that an index names: all must be there, inside the folder, whose bytes are hashed."""
    table = read_table(name, index).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(shard, str) for shard in table.values()):
        raise _unreadable(name, index, "no `weight_map` of tensors to files")
    shards = sorted(set(table.values()))
    if outside := [shard for shard in shards if Path(shard).is_absolute() or ".." in Path(shard).parts]:
        raise SubjectError(
            f"{name}: {index} names {outside[0]}, outside of the folder; put all files into it"
        )
    if missing := [shard for shard in shards if not (index.parent / shard).is_file()]:
        raise SubjectError(
            f"{name}: {index.parent} lacks {len(missing)} of the {len(shards)} files of its weights, among"
            f" them {missing[0]}; use a complete copy of the model"
        )
    return [index.parent / shard for shard in shards]


def _tensors(file: Path) -> int:
    """Return how many tensors a file can hold; raises what its library does where it is torn."""
    if file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, framework="pt") as tensors:
            return len(tensors.keys())
    if not zipfile.is_zipfile(file):
        return _size(file) // 64  # torch's older form: a record takes more
    with zipfile.ZipFile(file) as archive:
        if packed := [each.filename for each in archive.infolist() if each.file_size > each.compress_size]:
            raise ValueError(f"{file.name} is packed ({packed[0]}), as torch saves no weights")
        return len(archive.infolist())


def _counts(config: Any, path: str = "") -> Iterator[tuple[str, int]]:
    """Yield the numbers of layers that a configuration and its parts state, by key."""
    for key, value in config.items() if isinstance(config, dict) else ():
        if isinstance(value, dict):
            yield from _counts(value, f"{path}{key}.")
        elif isinstance(value, int | float) and _COUNT.search(str(key)):
            yield f"{path}{key}", int(min(value, 10**18)) if value == value else 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _too_large(name: str, path: Path) -> SubjectError:
    return _unreadable(name, path, f"it has {_size(path) / 1e6:,.0f} MB, more than any such file needs")


def _unreadable(name: str, path: Path, finding: str) -> SubjectError:
    return SubjectError(
        f"{name}: {path} cannot be read ({finding}); take the file anew from the model's source"
    )
