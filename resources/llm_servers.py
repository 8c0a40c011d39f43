"""The LLM server as a Dagster resource: where it is, the key to it and how hard it may be driven.

None of this changes results, so none of it enters a study's fingerprint; the model, the prompt style and
the prices come from the study.
"""

import dagster as dg
from pydantic import Field

from neuroscribe.errors import LLMError
from neuroscribe.studies import LLMSpec
from resources.llm import OpenAIServer


class LLMServers(dg.ConfigurableResource):
    """Opens the server that a study's [llm] names, or the one named where the study is run."""

    base_url: str = Field(default="", description="address of the server; overrides the study's base_url")
    api_key: str = Field(default="", repr=False, description="key to it; empty for servers without keys")
    concurrency: int = Field(default=16, gt=0, description="calls in flight at once")
    max_retries: int = Field(default=5, ge=0, description="further attempts at a call that may yet succeed")
    timeout_s: float = Field(default=120.0, gt=0, description="seconds to wait for an answer")

    def open(self, spec: LLMSpec) -> OpenAIServer:
        """Return the study's model; raises LLMError without a server or for an unusable address or key."""
        base_url = self.base_url or spec.base_url
        if not base_url:
            raise LLMError(
                f"no server is named for {spec.model}: set base_url in the study's [llm] or"
                " NEUROSCRIBE_LLM_BASE_URL, for instance to http://127.0.0.1:8000/v1"
            )
        return OpenAIServer(
            spec.model,
            base_url=base_url,
            api_key=self.api_key,
            prompt_style=spec.prompt_style,
            concurrency=self.concurrency,
            max_retries=self.max_retries,
            timeout_s=self.timeout_s,
            usd_per_million_prompt_tokens=spec.usd_per_million_prompt_tokens,
            usd_per_million_completion_tokens=spec.usd_per_million_completion_tokens,
        )
