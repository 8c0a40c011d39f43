"""Where models, text and tables are opened, as protocols; who fulfils them is chosen at assembly."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import polars as pl

from neuroscribe.ports.models import LLM, TextEncoder
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.kinds import LLMSection
from neuroscribe.study.lineage import StampReader
from neuroscribe.study.sections import EncoderSpec
from neuroscribe.study.spec import CorpusSpec, LLMSpec, SubjectSpec
from neuroscribe.subject.units.unit import UnitKind
from neuroscribe.text.documents import Document
from neuroscribe.text.token_bytes import TokenizerFacts

if TYPE_CHECKING:  # a loaded model brings torch, which takes seconds to import
    from neuroscribe.subject.subject import Subject


@runtime_checkable
class CorpusSource(Protocol):
    """Supplies the documents of a study's corpus in a fixed order."""

    def documents(self) -> Iterable[Document]:
        """Yield every document; raises CorpusError for bytes that are not text."""
        ...

    @property
    def revision(self) -> str:
        """Identity of the text: a hash or a revision."""
        ...


@runtime_checkable
class SubjectSource(Protocol):
    """Opens the model under study."""

    def open(self, spec: SubjectSpec, *, progress: Progress | None = None) -> "Subject":
        """Return the subject, loaded."""
        ...

    def tokenizer(self, spec: SubjectSpec, *, progress: Progress | None = None) -> TokenizerFacts:
        """Return its tokenizer alone."""
        ...

    def units(self, spec: SubjectSpec) -> UnitKind:
        """Return what a neuron is, without loading anything; raises StudyError for an unknown kind."""
        ...


@runtime_checkable
class TextSource(Protocol):
    """Opens the text of a corpus."""

    def open(self, spec: CorpusSpec, *, progress: Progress | None = None) -> CorpusSource:
        """Return the documents' source."""
        ...


@runtime_checkable
class LLMSource(Protocol):
    """Opens the LLMs that explain, simulate and put in other words."""

    def open(
        self,
        spec: LLMSpec,
        *,
        progress: Progress | None = None,
        beside: LLMSpec | None = None,
        section: LLMSection = "simulator_llm",
    ) -> LLM:
        """Return the model, loaded or ready to be called.

        `beside` is the study's [llm] where `spec` is its [simulator_llm], or that of another `section`, which
        may be served elsewhere.
        """
        ...


@runtime_checkable
class EncoderSource(Protocol):
    """Opens a sentence encoder."""

    def open(self, spec: EncoderSpec, *, progress: Progress | None = None) -> TextEncoder:
        """Return the encoder."""
        ...


@dataclass(frozen=True)
class Models:
    """What simulators and judges may be made of."""

    llm: LLM | None
    """None where none of the study's asks one."""
    encoders: EncoderSource
    calls: CallStore
    progress: Progress


@runtime_checkable
class TableReader(StampReader, Protocol):
    """Reads tables that other assets have written, and their stamps."""

    def read(self, study: str, table: str, layer: int | None = None) -> pl.DataFrame:
        """Return one table, or one layer of it."""
        ...

    def layers(self, study: str, table: str) -> list[int]:
        """Return the layers a table has, ascending."""
        ...


@runtime_checkable
class LicenceSource(Protocol):
    """Knows under which licences artefacts may be used."""

    def licences(self) -> dict[str, str]:
        """Return a sentence per artefact name."""
        ...
