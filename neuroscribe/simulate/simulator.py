"""What a simulator is: settings, and how one is made of the models that a study has."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from neuroscribe.errors import CapabilityError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.llm.calls import Request
from neuroscribe.ports.models import LLM, Simulator, WholeCorpus
from neuroscribe.ports.sources import EncoderSource, Models
from neuroscribe.ports.stores import Progress
from neuroscribe.study.kinds import SimulatorSpec


class Simulating(SimulatorSpec):
    """The settings of a simulator. A kind is a module of its own, with a data file where it asks an LLM."""

    reads_parts: ClassVar[bool] = True
    """Whether, costing nothing, it reads the parts of an explanation one by one, and not its text."""

    @abstractmethod
    def simulator(self, models: Models) -> Simulator:
        """Return the simulator, ready to be asked; raises CapabilityError for a model it cannot ask."""

    def whole_corpus(
        self, evidence: LayerEvidence, encoders: EncoderSource, progress: Progress
    ) -> WholeCorpus:
        """Return what reads all kept sequences, as the simulator reads each of them.

        Only one that costs nothing does; raises CapabilityError for any other.
        """
        raise CapabilityError(
            f"the simulator {self.kind_name} reads sequences one by one, and not the whole corpus"
        )

    def check(self, llm: LLM) -> None:
        """Raise CapabilityError where a model that gives what is needed can still not be asked."""

    def requests(self, explanation: str, tokens: Sequence[bytes]) -> list[Request]:
        """Return what the calls about one sequence send."""
        return []

    def unable(self, llm: LLM | None) -> CapabilityError:
        """Return the error of a model that cannot be asked."""
        return CapabilityError(f"the simulator {self.kind_name} cannot work with {llm and llm.identity}")
