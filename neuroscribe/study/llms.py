"""Which language models explain, simulate and put in other words, and what they cost."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from neuroscribe.study.sections import ModelSpec

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""US dollars per million tokens."""


class LLMSpec(ModelSpec):
    """The model that explains and simulates: in this process, or behind a server."""

    provider: Literal["local", "openai", "anthropic"] = Field(
        default="local", description="`openai` for any server with an OpenAI-compatible API"
    )
    prompt_style: Literal["completion", "chat"] = "chat"
    base_url: str | None = Field(
        default=None,
        description="server; NEUROSCRIBE_LLM_BASE_URL overrides it (for [simulator_llm] and"
        " [paraphraser_llm]: NEUROSCRIBE_SIMULATOR_LLM_BASE_URL, NEUROSCRIBE_PARAPHRASER_LLM_BASE_URL)",
    )
    batch: bool = Field(
        default=False,
        description="ask by batch jobs, answered within a day; they give replies and no log-probabilities",
    )
    usd_per_million_prompt_tokens: Price | None = None
    usd_per_million_cached_tokens: Price | None = None
    usd_per_million_completion_tokens: Price | None = None

    @property
    def served(self) -> bool:
        """Whether the model is behind a server."""
        return self.provider != "local"

    @model_validator(mode="after")
    def batch_of_a_server(self) -> "LLMSpec":
        """Batch jobs are those of OpenAI's API."""
        if self.batch and self.provider != "openai":
            raise ValueError('batch = true needs provider = "openai"; remove one of the two')
        return self
