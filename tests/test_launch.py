"""What a failed run says at the terminal."""

from collections.abc import Callable

import dagster as dg
import pytest

from dagster_project.launch import cause
from neuroscribe.errors import ArtefactError, BudgetError, StoreError


def recorded(work: Callable[[], None]) -> str:
    """Return what is said of a step that fails while its input is loaded."""

    class Manager(dg.IOManager):
        def handle_output(self, context: dg.OutputContext, obj: object) -> None: ...

        def load_input(self, context: dg.InputContext) -> None:
            work()

    @dg.asset
    def first() -> int:
        return 1

    @dg.asset
    def second(first: int) -> int:
        return first

    done = dg.materialize([first, second], resources={"io_manager": Manager()}, raise_on_error=False)
    (failed,) = [event for event in done.all_events if event.is_step_failure]
    return cause(failed.step_failure_data.error)


def full() -> None:
    try:
        raise OSError(28, "No space left on device")
    except OSError as error:
        raise StoreError("store/a.parquet: cannot be read: disk is full;\nfree space") from error


def inner() -> None:
    try:
        full()
    except StoreError as error:
        raise BudgetError("the budget: spent") from error


def foreign() -> None:
    try:
        full()
    except StoreError as error:
        raise RuntimeError("somewhere between") from error


def unknown() -> None:
    try:
        raise KeyError("deep")
    except KeyError as error:
        raise RuntimeError("higher") from error


def plain() -> None:
    raise ArtefactError("a model: missing")


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (plain, "a model: missing"),
        (full, "store/a.parquet: cannot be read: disk is full;\nfree space"),
        (inner, "the budget: spent"),
        (foreign, "store/a.parquet: cannot be read: disk is full;\nfree space"),
        (unknown, "KeyError: 'deep'"),
    ],
)
def test_behind_dagster_the_first_error_of_ours_is_shown_with_its_remedy(
    work: Callable[[], None], said: str
) -> None:
    assert recorded(work) == said


def test_an_error_that_was_not_recorded_is_said_to_be_so() -> None:
    assert cause(None) == "no error was recorded"
