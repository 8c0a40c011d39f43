"""What a study says of its dataset: the layouts in which its tables are published."""

from typing import Annotated

from pydantic import Field, field_validator

from neuroscribe.study.sections import FromList, Name, Section

BASE = "parquet"
"""The layout on which manifest and card rest; no dataset goes without it."""


class PublishSpec(Section):
    """How the tables leave the store."""

    layouts: Annotated[tuple[Name, ...], FromList] = Field(
        default=(BASE,), description="names in neuroscribe/publish/layouts; their order means nothing"
    )

    @field_validator("layouts")
    @classmethod
    def base_and_others_once(cls, layouts: tuple[str, ...]) -> tuple[str, ...]:
        """Require the layout that the manifest describes, and each name once."""
        if BASE not in layouts:
            raise ValueError(f'"{BASE}" is missing, on which manifest and card rest; add it')
        if len(set(layouts)) < len(layouts):
            raise ValueError("one layout is named twice; remove it")
        return layouts

    @property
    def added(self) -> list[str]:
        """The layouts beside the one that every dataset has, sorted."""
        return sorted(set(self.layouts) - {BASE})
