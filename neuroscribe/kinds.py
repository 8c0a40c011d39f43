"""All kinds that a study file can name, in one table, and the study that knows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Union

from pydantic import Field, create_model

from neuroscribe.ablate.ablation import Ablation
from neuroscribe.choose.intruder import Intruder
from neuroscribe.choose.steering import Steering
from neuroscribe.explain.auto import Auto
from neuroscribe.explain.highlights import Highlights
from neuroscribe.explain.imported import Imported
from neuroscribe.explain.logit_lens import LogitLens
from neuroscribe.explain.next_token import NextToken
from neuroscribe.explain.output_tokens import OutputTokens
from neuroscribe.explain.paraphrase import Paraphrase
from neuroscribe.explain.phrase_summary import PhraseSummary
from neuroscribe.explain.phrases import Phrases
from neuroscribe.explain.promotes import Promotes
from neuroscribe.explain.revision import Revision
from neuroscribe.explain.senses import Senses
from neuroscribe.explain.token_detector import TokenDetector
from neuroscribe.explain.token_list import TokenList
from neuroscribe.explain.token_pairs import TokenPairs
from neuroscribe.explain.token_summary import TokenSummary
from neuroscribe.judge.detection import Detection
from neuroscribe.judge.fuzzing import Fuzzing
from neuroscribe.judge.retrieval import Retrieval
from neuroscribe.simulate.all_at_once import AllAtOnce
from neuroscribe.simulate.embedding import Embedding
from neuroscribe.simulate.matching_words import MatchingWords
from neuroscribe.simulate.one_at_a_time import OneAtATime
from neuroscribe.simulate.structured import Structured
from neuroscribe.simulate.token_match import TokenMatch
from neuroscribe.study import files
from neuroscribe.study.kinds import (
    AblationSpec,
    ChoosingSpec,
    ExplainerSpec,
    JudgeSpec,
    KindSpec,
    SimulatorSpec,
    WritingSpec,
)
from neuroscribe.study.sections import Name
from neuroscribe.study.spec import Study
from neuroscribe.write.sensitivity import Sensitivity
from neuroscribe.write.sensitivity_templates import SensitivityTemplates

EXPLAINERS: tuple[type[ExplainerSpec], ...] = (
    TokenPairs, NextToken, Highlights, LogitLens, PhraseSummary, TokenSummary, TokenList, Phrases,
    TokenDetector, Senses, Revision, Paraphrase, Imported, Promotes, OutputTokens, Auto,
)  # fmt: skip
SIMULATORS: tuple[type[SimulatorSpec], ...] = (
    AllAtOnce, OneAtATime, MatchingWords, Structured, Embedding, TokenMatch,
)  # fmt: skip
SCORERS: tuple[type[JudgeSpec | AblationSpec | WritingSpec | ChoosingSpec], ...] = (
    Detection, Fuzzing, Retrieval, Ablation, Sensitivity, SensitivityTemplates, Steering, Intruder,
)  # fmt: skip


def _named(kinds: tuple[type[KindSpec], ...]) -> Any:
    """Return the type of a table of sections, each of the kind that it names."""
    either: Any = Union[kinds]  # noqa: UP007 - of a tuple
    return Mapping[Name, Annotated[either, Field(discriminator="kind")]]


_TABLES: dict[str, Any] = {
    "explainers": (Annotated[_named(EXPLAINERS), Field(min_length=1)], ...),
    "simulators": (Annotated[_named(SIMULATORS), Field(min_length=1)], ...),
    "scorers": (_named(SCORERS), Study.model_fields["scorers"]),
}
KnownStudy: type[Study] = create_model("KnownStudy", __base__=Study, **_TABLES)
"""A study whose kinds are those above."""


def read_study(path: Path) -> Study:
    """Read one study file; raises StudyError naming file, key, finding and remedy."""
    return files.read_study(path, KnownStudy)


def read_studies(folder: Path, names: str = files.ALL) -> files.Studies:
    """Read the studies of a folder, sound or broken, with names of that form; raises StudyError for none."""
    return files.read_studies(folder, KnownStudy, names)
