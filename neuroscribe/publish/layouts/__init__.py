"""The layouts in which tables can be published, one module each, and which of them a study names."""

from collections.abc import Mapping

from neuroscribe.errors import StudyError
from neuroscribe.publish.layout import Layout
from neuroscribe.publish.layouts.parquet import Parquet
from neuroscribe.study.publishing import BASE
from neuroscribe.study.spec import Study

LAYOUTS: Mapping[str, Layout] = {BASE: Parquet()}
"""All layouts by the name that a study gives them, in the order in which they are published."""


def chosen_layouts(study: Study, known: Mapping[str, Layout] = LAYOUTS) -> list[Layout]:
    """Return the layouts that a study names, in the order of `known`; raises StudyError for others."""
    if unknown := [name for name in study.publish.layouts if name not in known]:
        raise StudyError(
            f"study {study.name}: publish.layouts names {unknown[0]!r}, which is not among the known layouts"
            f" {', '.join(known)}; correct it"
        )
    return [layout for name, layout in known.items() if name in study.publish.layouts]
