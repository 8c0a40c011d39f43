"""The LLM that a study names, wherever it is: in this process or behind a server."""

import dagster as dg

from neuroscribe.ports import LLM, Progress
from neuroscribe.studies import LLMSpec
from resources.llm_servers import LLMServers
from resources.local_llm import LocalModels


class LLMs(dg.ConfigurableResource):
    """Opens the LLM by the study's `provider`."""

    local: LocalModels
    servers: LLMServers

    def open(self, spec: LLMSpec, *, progress: Progress | None = None) -> LLM:
        """Return the model, loaded or ready to be called; raises LLMError or ArtefactError otherwise."""
        if spec.provider == "local":
            return self.local.open(spec, progress=progress)
        return self.servers.open(spec)
