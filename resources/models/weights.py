"""Loads any causal language model and tokenizer the same way: from a hub, a folder or a pinned artefact.

Code that comes with a model is never run, weights that are missing are never made up, and transformers keeps
its progress bars and advice to itself.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from neuroscribe.errors import SubjectError
from neuroscribe.fingerprint import fingerprint
from neuroscribe.study.sections import ModelSpec
from resources.models import origins
from resources.models.artefacts import Artefacts, sha256_of
from resources.models.conversions import converted

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


def located(spec: ModelSpec, *, artefacts: Artefacts) -> Location:
    """Return where a model is, fetching and converting a pinned artefact first.

    An artefact goes before the hub, so that a study means the same bytes everywhere.
    """
    if spec.artefact is not None:
        path = artefacts.fetch(spec.artefact)
        if path.suffix == ".gguf":
            path = converted(spec.artefact, path, artefacts=artefacts)
        return Location(str(path), None, local=True, offline=True)
    folder = Path(spec.model).expanduser()
    if folder.is_dir():
        return Location(str(folder), None, local=True, offline=True)
    online = artefacts.hub and origins.hub_answers()
    return Location(spec.model, spec.revision, local=False, offline=not online)


def load_tokenizer(spec: ModelSpec, *, artefacts: Artefacts) -> Any:
    """Return the Hugging Face tokenizer of a model; raises SubjectError when it cannot be had."""
    from transformers import AutoTokenizer

    location = located(spec, artefacts=artefacts)
    with _explained(spec, location, "tokenizer"):
        return AutoTokenizer.from_pretrained(location.path, **location.options)


def load_causal_lm(spec: ModelSpec, *, artefacts: Artefacts, device: "torch.device") -> Any:
    """Return a Hugging Face causal LM of the spec's dtype, on `device`, for evaluation alone.

    Raises SubjectError when it cannot be had, is no causal LM, or lacks weights. Of an encoder-decoder
    transformers would load the decoder alone, so it is refused by its configuration.
    """
    import torch
    from transformers import AutoModelForCausalLM

    location = located(spec, artefacts=artefacts)
    with _explained(spec, location, "model"):
        _check_kind(spec, location)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            location.path,
            dtype=computing_dtype(getattr(torch, spec.dtype), device),
            output_loading_info=True,
            **location.options,
        )
        model, report = loaded
        if missing := sorted(report["missing_keys"]):
            raise SubjectError(
                f"{spec.model}: {location.path} lacks {len(missing)} tensors of its architecture, among them"
                f" {missing[0]}; use a complete copy of the model"
            )
        return model.to(device).eval().requires_grad_(False)


def _check_kind(spec: ModelSpec, location: Location) -> None:
    """Raise SubjectError for a kind of model that is no causal LM over text, by its configuration."""
    from transformers import AutoConfig

    from neuroscribe.subject.architectures import why_not_studied

    config = AutoConfig.from_pretrained(location.path, **location.options)
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
    folder = Path(spec.model).expanduser()
    if folder.is_dir():
        return _folder_identity(folder)
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


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and advice, and put its settings back afterwards."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _explained(spec: ModelSpec, location: Location, part: str) -> Iterator[None]:
    """Turn what transformers raises into one message with a remedy."""
    import torch
    from safetensors import SafetensorError

    try:
        with quiet():
            yield
    except torch.OutOfMemoryError as error:
        raise SubjectError(
            f"{spec.model}: the device has too little memory for it as {spec.dtype}; choose a narrower dtype"
            " in the study or another device"
        ) from error
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise SubjectError(
            f"{spec.model}: its {part} cannot be loaded ({_first_line(error)}); {_remedy(location)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _remedy(location: Location) -> str:
    if location.local:
        return f"check that {location.path} holds a whole causal language model in Hugging Face's form"
    if location.offline:
        return (
            "no model hub was reached: connect to one, give the path of a local folder as `model`, or name a"
            " pinned `artefact` (resources/models/artefacts.toml)"
        )
    return "check `model` and `revision` in the study, and that it needs neither a licence nor its own code"


def _folder_identity(folder: Path) -> str:
    """Return the hash of all files of a model folder, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = [(path.relative_to(folder).as_posix(), sha256_of(path)) for path in files]
    return f"sha256:{fingerprint(hashes)}"
