"""Turns whatever the model libraries raise into one message of ours, with a remedy that applies.

They raise bare exceptions of many types for a malformed folder, so all types are taken here; what reaches a
user is a SubjectError.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from neuroscribe.errors import NeuroscribeError, SubjectError

_SPELLED_ANEW = (
    "write it anew with AutoTokenizer.from_pretrained(...).save_pretrained(...) where sentencepiece and"
    " tiktoken are installed, which gives tokenizer.json"
)
_REMEDIES = {
    "weights only": "save the weights as safetensors (save_pretrained), if you trust their source",
    "unpickling": "save the weights as safetensors (save_pretrained), if you trust their source",
    "untagged enum": "its tokenizer.json is damaged or of another version of `tokenizers`; save it anew with"
    " the version of requirements.lock",
    "sentencepiece": _SPELLED_ANEW,
    "tiktoken": _SPELLED_ANEW,
    "backend tokenizer": _SPELLED_ANEW,
    "trust_remote_code": "code that comes with a model is never run; choose a model of a family that"
    " transformers knows",
    "size mismatch": "its configuration is not that of its weights; take both from one source",
    "mismatched": "its configuration is not that of its weights; take both from one source",
}
"""What to do, by what libraries say."""


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
def explained(name: str, part: str, otherwise: str) -> Iterator[None]:
    """Raise SubjectError for whatever a library raises while it loads a `part` of the model `name`.

    `otherwise` is the remedy where what was raised does not tell a better one. Errors of ours that do not
    name the model get its name.
    """
    try:
        with quiet():
            yield
    except SubjectError as error:
        if name in str(error):
            raise
        raise SubjectError(f"{name}: {error}") from error
    except NeuroscribeError:
        raise
    except BaseException as error:
        # A panic of the Rust library derives from no other class; neither do the interrupts of others.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise SubjectError(
            f"{name}: its {part} cannot be loaded ({_first_line(error)}); {_remedy(error, otherwise)}"
        ) from error


def _remedy(error: BaseException, otherwise: str) -> str:
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "memory does not suffice: choose a narrower dtype in the study or another device"
    said = f"{type(error).__name__} {error}".lower()
    return next((remedy for sign, remedy in _REMEDIES.items() if sign in said), otherwise)


def _first_line(error: BaseException) -> str:
    """Return what an error says, in a line; its type where it says nothing that could be understood alone."""
    line = next(iter(str(error).strip().splitlines()), "")
    alone = not isinstance(error, OSError | ValueError | RuntimeError | ImportError)
    return ": ".join(part for part in (type(error).__name__ if alone or not line else "", line[:300]) if part)
