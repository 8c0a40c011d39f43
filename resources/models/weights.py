"""Loads any causal language model and tokenizer the same way: from a hub, a folder or a pinned artefact.

Code that comes with a model is never run, weights that are missing are never made up, and transformers keeps
its progress bars and advice to itself.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from neuroscribe.errors import SubjectError
from neuroscribe.study.sections import ModelSpec
from resources.models import origins
from resources.models.artefacts import Artefacts
from resources.models.building import bounded, left_out
from resources.models.conversions import converted
from resources.models.faults import explained
from resources.models.folders import (
    UNKNOWN,
    check_folder,
    check_layers,
    folder_identity,
    read_table,
    weights_of,
)

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Location:
    """Where a model's files are."""

    path: str
    """Local folder, or id of a hub repository."""
    revision: str | None
    """Commit asked for, of a hub repository."""
    local: bool
    """Whether `path` is a folder."""
    offline: bool
    """Whether only files that are on this machine may be used."""

    @property
    def options(self) -> dict[str, Any]:
        """Arguments that every `from_pretrained` takes."""
        return {"revision": self.revision, "local_files_only": self.offline, "trust_remote_code": False}

    def file(self, name: str) -> Path | None:
        """Return where the model's file of that name is, fetched if need be; None if it has none."""
        from transformers.utils.hub import cached_file

        options = {"revision": self.revision, "local_files_only": self.offline}
        missing = dict.fromkeys(("missing_entries", "connection_errors", "gated_repo"), False)
        missing = {f"_raise_exceptions_for_{kind}": told for kind, told in missing.items()}
        found = cached_file(self.path, name, **options, **missing)
        return Path(found) if found else None

    def explained(self, name: str, part: str) -> AbstractContextManager[None]:
        """Turn what the model libraries raise into one SubjectError with a remedy for such a place."""
        return explained(name, part, self._remedy)

    @property
    def _remedy(self) -> str:
        if self.local:
            folder = Path(self.path)
            pickled = any(folder.glob("pytorch_model*")) and not any(folder.glob("*.safetensors"))
            return (
                f"check that {self.path} holds a whole causal language model in Hugging Face's form"
                f"{', and save the weights as safetensors (save_pretrained)' if pickled else ''}"
            )
        if self.offline:
            return (
                "no model hub was reached: connect to one, give the path of a local folder as `model`, or"
                " name a pinned `artefact` (resources/models/artefacts.toml)"
            )
        return (
            "check `model` and `revision` in the study, and that it needs neither a licence nor its own code"
        )


def located(spec: ModelSpec, *, artefacts: Artefacts) -> Location:
    """Return where a model is, fetching and converting a pinned artefact first.

    An artefact goes before the hub, so that a study means the same bytes everywhere.
    """
    if spec.artefact is not None:
        path = artefacts.fetch(spec.artefact)
        if path.suffix == ".gguf":
            path = converted(spec.artefact, path, artefacts=artefacts)
        return Location(str(path), None, local=True, offline=True)
    if (folder := spec.folder) is not None:
        if spec.revision is not None:
            raise SubjectError(
                f"{spec.model} is a folder, and revision = {spec.revision!r} names a commit of a hub's"
                " repository; remove `revision` (the content is hashed instead), or give the repository's id"
                " where there is no folder of that name"
            )
        return Location(str(folder), None, local=True, offline=True)
    online = artefacts.hub and origins.hub_answers()
    return Location(spec.model, spec.revision, local=False, offline=not online)


def load_tokenizer(spec: ModelSpec, *, artefacts: Artefacts) -> Any:
    """Return the Hugging Face tokenizer of a model; raises SubjectError when it cannot be had.

    Where there is a tokenizer.json, its rules are taken as they stand: most classes of transformers would
    build their own rules around its vocabulary, and split text otherwise than the model was trained with.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    location = located(spec, artefacts=artefacts)
    with location.explained(spec.model, "tokenizer"):
        if location.local:
            check_folder(spec.model, Path(location.path))
        reader: Any = PreTrainedTokenizerFast if location.file("tokenizer.json") else AutoTokenizer
        return reader.from_pretrained(location.path, **location.options)


def load_causal_lm(spec: ModelSpec, *, artefacts: Artefacts, device: "torch.device") -> Any:
    """Return a Hugging Face causal LM of the spec's dtype, on `device`, for evaluation alone.

    Raises SubjectError when it cannot be had, is no causal LM, or its weights are not those of its
    configuration. Of an encoder-decoder transformers would load the decoder alone, so it is refused by its
    configuration.
    """
    import torch
    from transformers import AutoModelForCausalLM

    location = located(spec, artefacts=artefacts)
    dtype = computing_dtype(getattr(torch, spec.dtype), device)
    with location.explained(spec.model, "model"):
        model = filled(AutoModelForCausalLM, spec, location, dtype, check=check_kind)
        return model.to(device).eval().requires_grad_(False)


def filled(
    family: Any,
    spec: ModelSpec,
    location: Location,
    dtype: "torch.dtype",
    *,
    check: Callable[[ModelSpec, Any], None] = lambda *_: None,
    spare: str = "",
) -> Any:
    """Return a model of an Auto class, all of whose weights came from its files; `spare` ones may lack.

    Raises SubjectError otherwise, and what `check` does for a configuration.
    """
    with building(spec, location, check):
        loaded: Any = family.from_pretrained(
            location.path, dtype=dtype, output_loading_info=True, **location.options
        )
    model, report = loaded
    missing = sorted(key for key in report["missing_keys"] if not spare or spare not in key)
    if missing:
        raise SubjectError(
            f"{spec.model}: {location.path} lacks {len(missing)} tensors of its architecture, among them"
            f" {missing[0]}; use a complete copy of the model"
        )
    if unused := left_out(model, report["unexpected_keys"]):
        raise SubjectError(
            f"{spec.model}: its configuration leaves out {len(unused)} tensors of its blocks that"
            f" {location.path} holds, among them {unused[0]}; take config.json from the source of the weights"
        )
    return model


@contextmanager
def building(spec: ModelSpec, location: Location, check: Callable[[ModelSpec, Any], None]) -> Iterator[Any]:
    """Give a model's configuration, and bound what is built of it meanwhile by its weights' headers.

    Raises SubjectError for what no model can be, and what `check` does for the configuration.
    """
    from transformers import AutoConfig

    table, weights = {}, UNKNOWN
    if location.local:
        folder = Path(location.path)
        table = check_folder(spec.model, folder)
        weights = weights_of(spec.model, folder, table)
    elif (file := location.file("config.json")) is not None:
        table = read_table(spec.model, file)
        check_layers(spec.model, table, weights)
    config = AutoConfig.from_pretrained(location.path, **location.options)
    check(spec, config)
    with bounded(spec.model, weights, packed="quantization_config" in table):
        yield config


def check_kind(spec: ModelSpec, config: Any) -> None:
    """Raise SubjectError for a kind of model that is no causal LM over text, by its configuration."""
    from neuroscribe.subject.architectures import why_not_studied

    if reason := why_not_studied(config.model_type, config):
        raise SubjectError(
            f"{spec.model}: model type {config.model_type!r} cannot be used: {reason}. Choose another"
        )


def computing_dtype(wanted: "torch.dtype", device: "torch.device") -> "torch.dtype":
    """Return the dtype in which a device computes: float32 instead of bfloat16 on processors without it.

    Without instructions for it (AVX-512 on x86) bfloat16 was measured to be 8 times slower than float32,
    which holds the same weights exactly. Results differ by rounding, and say in which dtype they were made.
    """
    import torch

    lacking = device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.float32 if wanted == torch.bfloat16 and lacking else wanted


def revision_of(model: Any, spec: ModelSpec, *, artefacts: Artefacts) -> str:
    """Return the identity of a loaded model's weights: SHA-256 of a local copy, or the hub's commit."""
    if spec.artefact is not None:
        return f"sha256:{artefacts.pin(spec.artefact).sha256}"
    if (folder := spec.folder) is not None:
        with explained(spec.model, "folder", "make all files below it readable"):
            return folder_identity(folder)
    return str(getattr(model.config, "_commit_hash", None) or spec.revision or "unknown")


def chosen_device(name: str) -> "torch.device":
    """Return the device that `auto`, `cpu`, `cuda`, `cuda:1` or `mps` stands for on this machine.

    Raises SubjectError for a device that is not there.
    """
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kinds = [kind for kind, is_present in present.items() if is_present]
    if name == "auto":
        return torch.device(kinds[0])
    kind, _, index = name.partition(":")
    known = kind in kinds and (index.isdecimal() or not index)
    if not known or (index and kind == "cuda" and int(index) >= torch.cuda.device_count()):
        raise SubjectError(
            f"device {name!r} is not on this machine, which has {', '.join(kinds)}; choose one of these"
        )
    return torch.device(name)


class Warm(Generic[T]):
    """Keeps what was opened last for the next run in this process; the old goes before the new is made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[object, T] | None = None

    def opened(self, key: object, make: Callable[[], T]) -> T:
        """Return what `key` stands for, made by `make` unless it is the one kept."""
        with self._lock:
            if self._kept is None or self._kept[0] != key:
                self._kept = None
                self._kept = (key, make())
            return self._kept[1]
