"""The LLM servers as a Dagster resource: where they are, the keys to them and how hard they may be driven.

None of this changes results, so none of it enters a study's fingerprint; the model, the prompt style and
the prices come from the study. Limits and the budget hold for all processes that name one database.
"""

import random
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg
from pydantic import Field

from neuroscribe.errors import BudgetError, LLMError, SubjectError
from neuroscribe.ports.models import LLM
from neuroscribe.ports.stores import Progress
from neuroscribe.study.kinds import LLMSection
from neuroscribe.study.sections import ModelSpec
from neuroscribe.study.spec import LLMSpec
from resources.llm.batches import BatchedServer
from resources.llm.budget import VARIABLE, Budget
from resources.llm.faults import EXPLAINING, PARAPHRASING, SIMULATING, Place
from resources.llm.limits import Circuit, Pace
from resources.llm.limits_database import LimitsDatabase
from resources.llm.prices import batch_prices, prices
from resources.llm.server import SERVERS, Server
from resources.llm.shared_pace import SharedPace, account
from resources.llm.transport import Drive
from resources.models.artefacts import Artefacts
from resources.models.weights import Warm, chosen_device, load_causal_lm, load_tokenizer, revision_of
from resources.store.calls import Calls

if TYPE_CHECKING:
    from neuroscribe.llm.local import LocalLLM

_DRIVES: dict[tuple[object, ...], Drive] = {}
"""By server, account and settings: what all calls of this process to one of them share."""
_BUDGETS: dict[tuple[float, float, str], Budget] = {}
"""By limit, hours and database; a process has one."""
_DATABASES: dict[str, LimitsDatabase] = {}
"""By address; a process has one."""


class _Served(NamedTuple):
    """Where a model is served."""

    url: str
    key: str
    place: Place


class LLMServers(dg.ConfigurableResource):
    """Opens the server that a study's [llm] or [simulator_llm] names, or the one named where it is run.

    The same for its [paraphraser_llm].
    """

    base_url: str = Field(default="", description="address of the server; overrides the study's base_url")
    api_key: str = Field(default="", repr=False, description="key to it; empty for servers without keys")
    simulator_base_url: str = Field(default="", description="the same for the study's [simulator_llm]")
    simulator_api_key: str = Field(default="", repr=False, description="key to that one")
    paraphraser_base_url: str = Field(default="", description="the same for the study's [paraphraser_llm]")
    paraphraser_api_key: str = Field(default="", repr=False, description="key to that one")
    concurrency: int = Field(default=16, gt=0, description="calls in flight at once")
    max_retries: int = Field(default=8, ge=0, description="further attempts at a call that may yet succeed")
    timeout_s: float = Field(default=120.0, gt=0, description="seconds to wait for an answer")
    requests_per_minute: int = Field(default=0, ge=0, description="limit of each server; 0 for none")
    tokens_per_minute: int = Field(default=0, ge=0, description="limit of each server; 0 for none")
    patience_s: float = Field(default=1800.0, gt=0, description="seconds to wait for a server that is down")
    budget_usd: float | None = Field(default=None, ge=0, description="money for all calls; None for any")
    budget_hours: float = Field(default=24.0, gt=0, description="hours within which it may be spent once")
    limits_database: str = Field(
        default="",
        repr=False,  # an address may hold a password
        description="file or address of the record of all processes' limits; empty: each has its own",
    )
    store: str = Field(default="", description="where to keep what servers can do; empty: nowhere")
    store_endpoint_url: str | None = Field(default=None, description="S3-compatible server of the store")

    def server(
        self,
        spec: LLMSpec,
        *,
        beside: LLMSpec | None = None,
        section: LLMSection = "simulator_llm",
        progress: Progress | None = None,
    ) -> Server:
        """Return the study's model; `beside` is its [llm] where `spec` is that of another `section`.

        Raises LLMError without a server or for an unusable address or key, and BudgetError where there is a
        budget and calls have no known price.
        """
        served = self._served(spec, beside, section)
        known = prices(spec, served.url)
        if self.budget_usd is not None and not known.known:
            raise BudgetError(
                f"{VARIABLE} is set, and what {spec.model} costs at {served.url} is not known; set"
                " usd_per_million_prompt_tokens and usd_per_million_completion_tokens in the study's"
                f" {served.place.section} (0 for a server of your own), or unset {VARIABLE}"
            )
        return SERVERS[spec.provider](
            spec.model,
            base_url=served.url,
            api_key=served.key,
            place=served.place,
            prompt_style=spec.prompt_style,
            concurrency=self.concurrency,
            timeout_s=self.timeout_s,
            prices=known,
            drive=self._drive(served),
            calls=self._calls,
            progress=progress,
        )

    def _served(self, spec: LLMSpec, beside: LLMSpec | None, section: LLMSection) -> _Served:
        """Return where a model is served; a key goes to no server but its own."""
        explaining = self.base_url or (beside or spec).base_url or ""
        if beside is None or spec == beside:
            url, key, place = explaining, self.api_key, EXPLAINING
        else:
            # Another vendor's server is no stand-in for one that is not named.
            shared = explaining if spec.provider == beside.provider or not beside.served else ""
            own_url, own_key, place = self._own(section)
            url = own_url or spec.base_url or shared
            key = own_key or (self.api_key if url == explaining else "")
        if not url:
            api = SERVERS[spec.provider].wire_for(spec.prompt_style, place).speaks
            raise LLMError(
                f"no server is named for {spec.model}: set base_url in the study's {place.section} or"
                f" {place.url_variable} to {api}"
            )
        return _Served(url, key, place)

    def _own(self, section: LLMSection) -> _Served:
        """Return what is named, where it is run, for a model beside [llm]."""
        if section == "paraphraser_llm":
            return _Served(self.paraphraser_base_url, self.paraphraser_api_key, PARAPHRASING)
        return _Served(self.simulator_base_url, self.simulator_api_key, SIMULATING)

    def _drive(self, served: _Served) -> Drive:
        """Return what calls to a server share: limits with all processes, and the rest in this one."""
        limits = (self.requests_per_minute, self.tokens_per_minute)
        money = (self.budget_usd, self.budget_hours, self.limits_database)
        settings = (served.url, served.key, *limits, self.max_retries, self.patience_s, *money)
        if settings not in _DRIVES:
            _DRIVES[settings] = Drive(
                pace=self._pace(served),
                circuit=Circuit(served.url, patience_s=self.patience_s, generator=random.Random(0)),  # noqa: S311
                budget=self.budget,
                max_retries=self.max_retries,
                patience_s=self.patience_s,
            )
        return _DRIVES[settings]

    def _pace(self, served: _Served) -> Pace | SharedPace:
        """Return the pace of calls to a server; without limits there is none that others need to know."""
        limits = {
            "requests_per_minute": self.requests_per_minute,
            "tokens_per_minute": self.tokens_per_minute,
        }
        if not self.limits_database or not any(limits.values()):
            return Pace(**limits)
        return SharedPace(self._database, account(served.url, served.key), **limits)

    @property
    def _calls(self) -> Calls | None:
        return Calls(root=self.store, endpoint_url=self.store_endpoint_url) if self.store else None

    @property
    def budget(self) -> Budget | None:
        """What may be spent, shared by all servers; None for any."""
        if self.budget_usd is None:
            return None
        settings = (self.budget_usd, self.budget_hours, self.limits_database)
        if settings not in _BUDGETS:
            _BUDGETS[settings] = Budget(self.budget_usd, hours=self.budget_hours, database=self._database)
        return _BUDGETS[settings]

    @property
    def _database(self) -> LimitsDatabase:
        return _DATABASES.setdefault(self.limits_database, LimitsDatabase(self.limits_database))


_LLM: "Warm[dict[str, LocalLLM]]" = Warm()
"""The weights that were opened last, in each prompt style in which they were asked."""


class LocalModels(dg.ConfigurableResource):
    """Opens the in-process LLMs that studies name."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    cache_dir: str = Field(default=".cache/neuroscribe", description="folder of fetched and converted models")
    hub: bool = Field(default=True, description="whether a model hub may be asked")

    def open(self, spec: LLMSpec, *, progress: Progress | None = None) -> "LocalLLM":
        """Return the LLM; it stays loaded for the next run in this process.

        Raises LLMError or ArtefactError when it cannot be had.
        """
        try:
            device = chosen_device(self.device)
            # The same weights may explain as a chat and simulate by completing: they are loaded once.
            weights = ModelSpec(**{name: getattr(spec, name) for name in ModelSpec.model_fields})
            key = (weights, device, self.cache_dir)
            opened = _LLM.opened(key, lambda: {spec.prompt_style: self._load(spec, progress)})
            if spec.prompt_style not in opened:
                opened[spec.prompt_style] = next(iter(opened.values())).styled(spec.prompt_style)
            return opened[spec.prompt_style]
        except SubjectError as error:
            raise LLMError(str(error)) from error

    def _load(self, spec: LLMSpec, progress: Progress | None) -> "LocalLLM":
        from neuroscribe.llm.local import LocalLLM

        artefacts = Artefacts(Path(self.cache_dir), hub=self.hub, progress=progress)
        tokenizer = load_tokenizer(spec, artefacts=artefacts)
        model = load_causal_lm(spec, artefacts=artefacts, device=chosen_device(self.device))
        revision = revision_of(model, spec, artefacts=artefacts)
        dtype = str(model.dtype).removeprefix("torch.")
        return LocalLLM(
            model, tokenizer, identity=f"{spec.model}@{revision} {dtype}", style=spec.prompt_style
        )


class LLMs(LLMServers):
    """Opens the LLM by the study's `provider`; the fields are those of its two kinds."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps (local)")
    cache_dir: str = Field(default=".cache/neuroscribe", description="folder of converted models (local)")
    batch_wait_minutes: int = Field(default=1440, ge=0, description="how long to wait for a batch job")
    hub: bool = Field(default=True, description="whether a model hub may be asked (local)")

    def open(
        self,
        spec: LLMSpec,
        *,
        progress: Progress | None = None,
        beside: LLMSpec | None = None,
        section: LLMSection = "simulator_llm",
    ) -> LLM:
        """Return the model, loaded or ready to be called; `beside` is [llm] where `spec` is another's.

        Raises LLMError, BudgetError or ArtefactError otherwise.
        """
        if not spec.served:
            models = LocalModels(device=self.device, cache_dir=self.cache_dir, hub=self.hub)
            return models.open(spec, progress=progress)
        server = self.server(spec, beside=beside, section=section, progress=progress)
        if not spec.batch:
            return server
        if self._calls is None:
            raise LLMError("batch jobs need a store in which they are on record; name one in `store`")
        return BatchedServer(
            server,
            self._calls,
            wait_s=60.0 * self.batch_wait_minutes,
            prices=batch_prices(spec, server.endpoint.url),
            budget=self.budget,
            progress=progress,
            max_retries=self.max_retries,
        )
