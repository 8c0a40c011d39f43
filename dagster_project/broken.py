"""Studies whose file is wrong, as Dagster shows them: an asset that holds the message and never succeeds."""

import re
from collections.abc import Iterable, Iterator, Mapping

import dagster as dg

from neuroscribe.errors import NeuroscribeError

ASSET = "broken_study_file"
"""The name of the asset; no stage has it."""


def broken_defs(broken: Mapping[str, NeuroscribeError], *, sound: Iterable[str] = ()) -> dg.Definitions:
    """Return an asset for each study, by the name of its file, in a group of its own beside the `sound`."""
    named = zip(_group_names(broken, sound), broken.values(), strict=True)
    return dg.Definitions(assets=[_asset(name, str(error)) for name, error in named])


def _asset(group: str, message: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=ASSET,
        key_prefix=[group],
        group_name=group,
        description=f"Left out:\n\n{message}\n\nCorrect the file, and reload this code location.",
        metadata={"error": dg.MetadataValue.text(message)},
    )
    def asset() -> None:
        raise dg.Failure(description=f"{message}; reload the code location then", allow_retries=False)

    return asset


def _group_names(names: Iterable[str], sound: Iterable[str]) -> Iterator[str]:
    """Yield a name that Dagster takes for each file's, all different, and none that a sound study has."""
    taken = set(sound)
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name)[:100] or "_"
        while plain in taken:
            plain += "_"
        taken.add(plain)
        yield plain
