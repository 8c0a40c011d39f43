"""The LLM that a study names, wherever it is: in this process or behind a server."""

from pydantic import Field

from neuroscribe.errors import LLMError
from neuroscribe.ports import LLM, Progress
from neuroscribe.studies import LLMSpec
from resources.calls import FolderCalls
from resources.llm import OpenAIServer
from resources.llm_batches import BatchedServer
from resources.llm_prices import batch_prices
from resources.llm_servers import LLMServers
from resources.local_llm import LocalModels


class LLMs(LLMServers):
    """Opens the LLM by the study's `provider`; the fields are those of its two kinds."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps (local)")
    cache_dir: str = Field(default=".cache/neuroscribe", description="folder of converted models (local)")
    batch_wait_minutes: int = Field(default=1440, ge=0, description="how long to wait for a batch job")
    hub: bool = Field(default=True, description="whether a model hub may be asked (local)")

    def open(self, spec: LLMSpec, *, progress: Progress | None = None, beside: LLMSpec | None = None) -> LLM:
        """Return the model, loaded or ready to be called; `beside` is [llm] where `spec` is [simulator_llm].

        Raises LLMError, BudgetError or ArtefactError otherwise.
        """
        if spec.provider == "local":
            models = LocalModels(device=self.device, cache_dir=self.cache_dir, hub=self.hub)
            return models.open(spec, progress=progress)
        server = self.server(spec, beside=beside, progress=progress)
        return self._batched(server, spec, progress) if spec.batch else server

    def _batched(self, server: OpenAIServer, spec: LLMSpec, progress: Progress | None) -> BatchedServer:
        if not self.store:
            raise LLMError("batch jobs need a store in which they are on record; name one in `store`")
        return BatchedServer(
            server,
            FolderCalls(f"{self.store.rstrip('/')}/calls", endpoint_url=self.store_endpoint_url),
            wait_s=60.0 * self.batch_wait_minutes,
            prices=batch_prices(spec, server.endpoint.url),
            budget=self.budget,
            progress=progress,
            max_retries=self.max_retries,
        )
