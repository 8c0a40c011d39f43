"""The LLM servers as a Dagster resource: where they are, the keys to them and how hard they may be driven.

None of this changes results, so none of it enters a study's fingerprint; the model, the prompt style and
the prices come from the study. Limits and the budget are those of this process.
"""

import random
from typing import NamedTuple

import dagster as dg
from pydantic import Field

from neuroscribe.errors import BudgetError, LLMError
from neuroscribe.ports import CallStore, Progress
from neuroscribe.studies import LLMSpec
from resources.calls import FolderCalls
from resources.llm import OpenAIServer
from resources.llm_budget import VARIABLE, Budget
from resources.llm_circuit import Circuit
from resources.llm_endpoints import EXPLAINING, SIMULATING, Place
from resources.llm_pacing import Pace
from resources.llm_prices import Prices, prices
from resources.llm_transport import Drive

_DRIVES: dict[tuple[object, ...], Drive] = {}
"""By server, account and settings: what all calls of this process to one of them share."""
_BUDGETS: dict[float, Budget] = {}
"""By limit; a process has one."""


class _Found(NamedTuple):
    """Where a model is served."""

    url: str
    key: str
    place: Place


class LLMServers(dg.ConfigurableResource):
    """Opens the server that a study's [llm] or [simulator_llm] names, or the one named where it is run."""

    base_url: str = Field(default="", description="address of the server; overrides the study's base_url")
    api_key: str = Field(default="", repr=False, description="key to it; empty for servers without keys")
    simulator_base_url: str = Field(default="", description="the same for the study's [simulator_llm]")
    simulator_api_key: str = Field(default="", repr=False, description="key to that one")
    concurrency: int = Field(default=16, gt=0, description="calls in flight at once")
    max_retries: int = Field(default=8, ge=0, description="further attempts at a call that may yet succeed")
    timeout_s: float = Field(default=120.0, gt=0, description="seconds to wait for an answer")
    requests_per_minute: int = Field(default=0, ge=0, description="limit of each server; 0 for none")
    tokens_per_minute: int = Field(default=0, ge=0, description="limit of each server; 0 for none")
    patience_s: float = Field(default=1800.0, gt=0, description="seconds to wait for a server that is down")
    budget_usd: float | None = Field(default=None, ge=0, description="money for this process; None for any")
    store: str = Field(default="", description="where to keep what servers can do; empty: nowhere")
    store_endpoint_url: str | None = Field(default=None, description="S3-compatible server of the store")

    def server(
        self, spec: LLMSpec, *, beside: LLMSpec | None = None, progress: Progress | None = None
    ) -> OpenAIServer:
        """Return the study's model; `beside` is its [llm] where `spec` is its [simulator_llm].

        Raises LLMError without a server or for an unusable address or key, and BudgetError where there is a
        budget and calls have no known price.
        """
        found = self._found(spec, beside)
        known = prices(spec, found.url)
        if self.budget_usd is not None and not known.known:
            raise BudgetError(
                f"{VARIABLE} is set, and what {spec.model} costs at {found.url} is not known; set"
                " usd_per_million_prompt_tokens and usd_per_million_completion_tokens in the study's"
                f" {found.place.section} (0 for a server of your own), or unset {VARIABLE}"
            )
        return self._opened(spec, found, known, progress)

    def _opened(self, spec: LLMSpec, found: _Found, known: Prices, progress: Progress | None) -> OpenAIServer:
        calls: CallStore | None = None
        if self.store:
            calls = FolderCalls(f"{self.store.rstrip('/')}/calls", endpoint_url=self.store_endpoint_url)
        return OpenAIServer(
            spec.model,
            base_url=found.url,
            api_key=found.key,
            place=found.place,
            prompt_style=spec.prompt_style,
            concurrency=self.concurrency,
            timeout_s=self.timeout_s,
            prices=known,
            drive=self._drive(found),
            calls=calls,
            progress=progress,
        )

    def _found(self, spec: LLMSpec, beside: LLMSpec | None) -> _Found:
        """Return where a model is served; a key goes to no server but its own."""
        explaining = self.base_url or (beside or spec).base_url or ""
        if beside is None or spec == beside:
            url, key, place = explaining, self.api_key, EXPLAINING
        else:
            url, key, place = self.simulator_base_url or spec.base_url or explaining, "", SIMULATING
            key = self.simulator_api_key or (self.api_key if url == explaining else "")
        if not url:
            raise LLMError(
                f"no server is named for {spec.model}: set base_url in the study's {place.section} or"
                f" {place.url_variable}, for instance to http://127.0.0.1:8000/v1"
            )
        return _Found(url, key, place)

    def _drive(self, found: _Found) -> Drive:
        """Return what calls to a server share in this process."""
        limits = (self.requests_per_minute, self.tokens_per_minute)
        settings = (found.url, found.key, *limits, self.max_retries, self.patience_s, self.budget_usd)
        if settings not in _DRIVES:
            _DRIVES[settings] = Drive(
                pace=Pace(requests_per_minute=limits[0], tokens_per_minute=limits[1]),
                circuit=Circuit(found.url, patience_s=self.patience_s, generator=random.Random(0)),  # noqa: S311
                budget=self.budget,
                max_retries=self.max_retries,
                patience_s=self.patience_s,
            )
        return _DRIVES[settings]

    @property
    def budget(self) -> Budget | None:
        """What this process may spend, shared by all servers; None for any."""
        if self.budget_usd is None:
            return None
        return _BUDGETS.setdefault(self.budget_usd, Budget(self.budget_usd))
