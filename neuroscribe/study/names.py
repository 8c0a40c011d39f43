"""Names that one section of a study gives to others."""

from collections.abc import Mapping


def check_names(key: str, names: tuple[str, ...], known: Mapping[str, object]) -> None:
    """Raise ValueError for a name that is given twice or is not known."""
    if len(set(names)) < len(names):
        raise ValueError(f"{key} names one twice; remove it")
    if unknown := set(names) - set(known):
        kind = key.rpartition(".")[2]
        raise ValueError(
            f"{key} names {sorted(unknown)[0]!r}, which is not among the {kind} {', '.join(sorted(known))};"
            f" correct it, or add [{kind}.{sorted(unknown)[0]}]"
        )
