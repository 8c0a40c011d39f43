"""Tells lack of memory from other failures, whichever allocator met it."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from neuroscribe.errors import CaptureError
from neuroscribe.subjects import Subject

_SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What torch says, in errors without a type of their own, when the CPU or a GPU library lacks memory."""


def is_lack_of_memory(error: BaseException) -> bool:
    """Tell whether a failure was for want of memory, on a GPU, in torch on the CPU, in numpy or in Python."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


@contextmanager
def lack_of_memory_explained(subject: Subject) -> Generator[None]:
    """Turn a lack of memory that no smaller batch cures into a CaptureError that says what does."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        raise CaptureError(
            f"{subject.name}: memory of {subject.device} does not suffice for one sequence beside the model"
            " and the states; select fewer layers per run, a narrower subject.dtype or a larger device"
        ) from error
