"""Where labels made by others lie, as a study says it."""

from typing import Annotated, Literal

from pydantic import Field

from neuroscribe.study.sections import Positive, Section

LabelFormat = Literal["auto", "csv", "parquet", "openai", "neuronpedia", "transluce"]


class LabelsSpec(Section):
    """Which files of labels to read, and how."""

    file: Annotated[str, Field(min_length=1)] = Field(
        description="path or glob of .csv, .parquet, .json or .jsonl files (.gz, too), here or on S3"
    )
    format: LabelFormat = Field(
        default="auto", description="whose form they have; by ending and content unless given"
    )
    source: str | None = Field(
        default=None,
        description="of Neuronpedia's export: the source set to take, where a file holds several",
    )
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        default=None,
        description="SHA-256 of the files' bytes, one after the other by path: they are held to it, and the"
        " study is pinned",
    )
    candidates: Positive = Field(
        default=1, description="labels of a neuron that are taken; of several `valid` decides"
    )
