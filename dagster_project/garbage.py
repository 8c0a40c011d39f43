"""What a store holds that nothing needs: leftovers of killed writers, and of studies or stages now gone.

    python -m dagster_project.garbage [--remove]

It prints each file with its size and why, and removes none of them without --remove. Studies that are being
run are left alone. Stored answers of language models are counted only: they were paid for.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import polars as pl

from dagster_project.alone import at_rest
from dagster_project.command import Variables, parser, status
from dagster_project.environments import Environment
from neuroscribe.errors import StoreError, StudyError
from neuroscribe.kinds import read_studies
from neuroscribe.publish.draft import MANIFEST
from neuroscribe.report.ledger import ledger
from neuroscribe.study.files import Studies
from neuroscribe.text.escaping import escaped
from resources.store import objects
from resources.store.calls import FolderCalls
from resources.store.datasets import NAME
from resources.store.files import Entry, Files, store_errors
from resources.store.layout import DAY_S, Current, Garbage, garbage, placed
from resources.store.outages import answered_with, patient
from resources.store.tensors import SafetensorFiles

_CALLS = "calls"
_NOT_LISTED = (400, 405, 501)
"""How servers answer that do not list uploads."""


def main(arguments: Sequence[str] | None = None, variables: Variables | None = None) -> int:
    """Print, and remove with --remove; returns 0, or 1 after one message about what went wrong."""
    command = parser("garbage", __doc__)
    command.add_argument("--remove", action="store_true", help="remove what is printed")
    options = command.parse_args(arguments)
    return status(lambda environment: collect(environment, remove=options.remove), variables)


def collect(environment: Environment, *, remove: bool) -> None:
    """Print what nothing needs in the environment's store, with its sum, and remove it if that is asked."""
    files = Files(environment.store, endpoint_url=environment.endpoint_url)
    studies = read_studies(environment.studies)
    total = sum(_collected(name, files, studies, environment, remove=remove) for name in files.names(""))
    total += _dealt_with(garbage(files.entries(deep=False), studies), files, remove=remove)
    total += _uploads(files, remove=remove)
    done = "removed" if remove else "to remove (nothing has been: add --remove, or make gc REMOVE=1)"
    _write(f"{_size(total)} {done}")
    _count_calls(environment, studies)


def _collected(name: str, files: Files, studies: Studies, environment: Environment, *, remove: bool) -> int:
    """Deal with what is below one folder of the store; return the bytes."""
    if name == _CALLS or not _found(name, files, studies, environment):
        return 0
    try:
        with at_rest(name, environment):
            # A run may have ended since: what is garbage is told anew.
            return _dealt_with(_found(name, files, studies, environment), files, remove=remove)
    except StudyError as error:
        _write(f"left alone: {error}")
        return 0


def _found(name: str, files: Files, studies: Studies, environment: Environment) -> list[Garbage]:
    entries = [entry for entry in files.entries(name) if entry.path != name]
    current = {name: _current(name, entries, files, environment)}
    return garbage(entries, studies, broken=studies.broken, current=current)


def _current(study: str, entries: Sequence[Entry], files: Files, environment: Environment) -> Current:
    """Return which versions of dataset and whole activations a study's files lead to."""
    tensors = SafetensorFiles(environment.store, endpoint_url=environment.endpoint_url)
    places = {entry.path: placed(entry.path) for entry in entries}
    kinds = {place.kind for place in places.values() if place}
    states = [path for path, place in places.items() if place and place.kind in ("state", "shard")]
    captures = (
        {tensors.metadata(path).get("fingerprint", "")[:12] for path in states}
        if "whole" in kinds
        else set[str]()
    )
    return Current(dataset=_published(study, files), captures=captures - {""})


def _published(study: str, files: Files) -> str:
    """Return the version to which the address of a study's dataset leads, empty where there is none."""
    if files.is_local:
        link = files.local_path(f"{study}/{NAME}")
        return link.readlink().name if link.is_symlink() else ""
    try:
        manifest: Mapping[str, object] = json.loads(files.read(f"{study}/{NAME}/{MANIFEST}"))
        return str(manifest.get("base", "")).strip("/")
    except (FileNotFoundError, ValueError, AttributeError):
        return ""


def _dealt_with(found: Sequence[Garbage], files: Files, *, remove: bool) -> int:
    for each in found:
        _write(f"{_size(each.entry.size)}  {each.entry.path}: {each.why}")
        if remove:
            files.remove(each.entry.path)
    return sum(each.entry.size for each in found)


def _uploads(files: Files, *, remove: bool) -> int:
    """Deal with uploads in parts that were begun and not ended; return the bytes."""
    if files.is_local:
        return 0
    root, total = files.path(""), 0
    with store_errors(root, "listed"):
        try:
            begun = patient(root, lambda: objects.uploads(root))
        except OSError as error:
            if answered_with(error)[0] not in _NOT_LISTED:
                raise
            _write("this server does not list uploads that were not ended")
            return 0
        for each in begun:
            if (datetime.now(UTC) - each.begun).total_seconds() > DAY_S:
                _write(f"{_size(each.size)}  {each.key}: an upload that a killed writer has left unfinished")
                total += each.size
                if remove:
                    objects.abandon(root, each)
    return total


def _count_calls(environment: Environment, studies: Studies) -> None:
    """Say how many stored answers were asked for by studies that are gone."""
    calls = FolderCalls(f"{environment.store.rstrip('/')}/{_CALLS}", endpoint_url=environment.endpoint_url)
    try:
        entries = ledger(calls)
    except StoreError as error:
        _write(f"stored answers are not counted: {error}")
        return
    there = [*studies, *studies.broken]
    gone = entries.filter(pl.col("study").is_not_null() & ~pl.col("study").is_in(there)).height
    _write(
        f"{entries.height:,} stored answers of language models, {gone:,} of them first asked for by studies"
        " that are gone; they were paid for, and are kept"
    )


def _size(count: int) -> str:
    return f"{count / 1e6:10,.3f} MB"


def _write(text: str) -> None:
    # A name in a store may hold anything.
    sys.stdout.write(escaped(text.encode(errors="replace")) + "\n")


if __name__ == "__main__":
    sys.exit(main())
