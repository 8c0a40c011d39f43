"""The LLM that a study names, wherever it is: in this process or behind a server."""

from pydantic import Field

from neuroscribe.ports import LLM, Progress
from neuroscribe.studies import LLMSpec
from resources.llm_servers import LLMServers
from resources.local_llm import LocalModels


class LLMs(LLMServers):
    """Opens the LLM by the study's `provider`; the fields are those of its two kinds."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps (local)")
    cache_dir: str = Field(default=".cache/neuroscribe", description="folder of converted models (local)")
    hub: bool = Field(default=True, description="whether a model hub may be asked (local)")

    def open(self, spec: LLMSpec, *, progress: Progress | None = None, beside: LLMSpec | None = None) -> LLM:
        """Return the model, loaded or ready to be called; `beside` is [llm] where `spec` is [simulator_llm].

        Raises LLMError, BudgetError or ArtefactError otherwise.
        """
        if spec.provider == "local":
            models = LocalModels(device=self.device, cache_dir=self.cache_dir, hub=self.hub)
            return models.open(spec, progress=progress)
        return self.server(spec, beside=beside, progress=progress)
