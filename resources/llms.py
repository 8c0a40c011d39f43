"""The LLM that a study names, wherever it is: in this process or behind a server."""

import dagster as dg
from pydantic import Field

from neuroscribe.ports import LLM, Progress
from neuroscribe.studies import LLMSpec
from resources.llm_servers import LLMServers
from resources.local_llm import LocalModels


class LLMs(dg.ConfigurableResource):
    """Opens the LLM by the study's `provider`; the fields are those of its two kinds."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps (local)")
    cache_dir: str = Field(default=".cache/neuroscribe", description="folder of converted models (local)")
    hub: bool = Field(default=True, description="whether a model hub may be asked (local)")
    base_url: str = Field(default="", description="address of the server; overrides the study's base_url")
    api_key: str = Field(default="", repr=False, description="key to it; empty for servers without keys")
    concurrency: int = Field(default=16, gt=0, description="calls in flight at once")
    max_retries: int = Field(default=5, ge=0, description="further attempts at a call that may yet succeed")
    timeout_s: float = Field(default=120.0, gt=0, description="seconds to wait for an answer")

    def open(self, spec: LLMSpec, *, progress: Progress | None = None) -> LLM:
        """Return the model, loaded or ready to be called; raises LLMError or ArtefactError otherwise."""
        if spec.provider == "local":
            models = LocalModels(device=self.device, cache_dir=self.cache_dir, hub=self.hub)
            return models.open(spec, progress=progress)
        servers = LLMServers(
            base_url=self.base_url,
            api_key=self.api_key,
            concurrency=self.concurrency,
            max_retries=self.max_retries,
            timeout_s=self.timeout_s,
        )
        return servers.open(spec)
