"""What is wrong with a database of SQLite, by what SQLite says: the finding and the remedy for each."""

from collections.abc import Mapping

from resources.store.disk import FULL

_DAMAGED = "it is damaged; restore it from a copy, or move it away, and {anew}"
_OF_ANOTHER_VERSION = "it is of another version of {program}; move it away, and {anew}"
_WORDS: Mapping[str, str] = {
    "database disk image is malformed": _DAMAGED,
    "file is not a database": _DAMAGED,
    "database is locked": "another process writes it without end, or the disk's locks do not work; end that"
    " process, or choose {elsewhere} on a local disk",
    "locking protocol": "the disk's locks do not work; choose {elsewhere} on a local disk",
    "attempt to write a readonly database": "this user may not write it; change its owner or mode, or choose"
    " {elsewhere}",
    "unable to open database file": "it cannot be opened; look at its folder's owner and mode, free space,"
    " or choose {elsewhere}",
    "database or disk is full": FULL,
    "disk I/O error": "the disk fails to read or write; check it, or choose {elsewhere}",
    "no such table": _OF_ANOTHER_VERSION,
    "no such column": _OF_ANOTHER_VERSION,
}


def sqlite_words(found: str, *, program: str, elsewhere: str, anew: str) -> str:
    """Return what to do about what SQLite found.

    `program` is whose database it is, `elsewhere` says what else to choose, and how, and `anew` what follows
    where the file is moved away.
    """
    words = next((words for said, words in _WORDS.items() if said in found), "choose {elsewhere}")
    return words.format(program=program, elsewhere=elsewhere, anew=anew)


def is_damage(found: str) -> bool:
    """Tell whether SQLite found a file that is none of its databases, or no sound one."""
    return any(said in found for said, words in _WORDS.items() if words == _DAMAGED)
