"""The one reader of environment variables: where things are and how fast they may go, never what comes out.

NEUROSCRIBE_STORE          folder or s3://bucket/prefix of all tables and tensors (store/)
NEUROSCRIBE_CACHE          folder of fetched and converted models and text (.cache/neuroscribe)
NEUROSCRIBE_S3_ENDPOINT    an S3-compatible server other than AWS
NEUROSCRIBE_S3_WAIT_MINUTES how long to wait for an S3 server that is down (30)
NEUROSCRIBE_DEVICE         auto, cpu, cuda or mps (auto)
NEUROSCRIBE_BATCH_TOKENS   tokens per forward pass of the subject (0: what fits the device)
NEUROSCRIBE_CHECKPOINT_SECONDS least time between two checkpoints of a capture (60)
NEUROSCRIBE_HUB            0 to never ask a model hub (1)
NEUROSCRIBE_LLM_BASE_URL   address of the LLM's server; overrides the study's
NEUROSCRIBE_LLM_API_KEY    key to it
NEUROSCRIBE_LLM_CONCURRENCY calls in flight at once (16)
NEUROSCRIBE_LLM_REQUESTS_PER_MINUTE limit of each server, for all processes together (0: none)
NEUROSCRIBE_LLM_TOKENS_PER_MINUTE   the same for tokens (0: none)
NEUROSCRIBE_LLM_WAIT_MINUTES        how long to wait for a server that is down (30)
NEUROSCRIBE_LLM_BATCH_WAIT_MINUTES  how long to wait for a batch job (1440; 0: submit it and stop)
NEUROSCRIBE_LLM_BUDGET_USD          money that all processes together may spend on calls (any) ...
NEUROSCRIBE_LLM_BUDGET_HOURS        ... within any so many hours (24)
NEUROSCRIBE_LIMITS_DATABASE         record of all processes' limits: a file, or PostgreSQL's address, also
                                    with a password (limits.db in DAGSTER_HOME)
NEUROSCRIBE_SIMULATOR_LLM_BASE_URL  address of [simulator_llm]'s server (the study's own, else that of [llm])
NEUROSCRIBE_SIMULATOR_LLM_API_KEY   key to it (that of [llm], if the address is the same)
NEUROSCRIBE_PARAPHRASER_LLM_BASE_URL  address of [paraphraser_llm]'s server, by the same rule
NEUROSCRIBE_PARAPHRASER_LLM_API_KEY   key to it, likewise
NEUROSCRIBE_STUDIES        folder of studies (studies/)
NEUROSCRIBE_NIGHTLY_LAYERS layers that a night may explain of a study (0: all)
NEUROSCRIBE_ALERT_URL      address to which word of failed runs is posted; a secret (none)
NEUROSCRIBE_EXECUTOR       in_process, multiprocess or ray: where steps of runs are computed (in_process);
                           those of `make run` are in its own process, whatever this says
NEUROSCRIBE_RAY_ADDRESS    Ray's cluster: auto, host:port of its head, or ray://host:port (auto)
NEUROSCRIBE_RAY_GPUS       GPUs, or what part of one, that a step or shard on the subject asks Ray for (0)
NEUROSCRIBE_UI_HOSTS       further hosts under which browsers reach `make ui`, as in example.org:8443 (none)
NEUROSCRIBE_COMMIT         commit of the code, where there is no .git to read it from
DAGSTER_HOME               Dagster's instance (.dagster/)
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from getpass import getuser
from pathlib import Path
from typing import Any

from dagster_project.commit import UNKNOWN, code_commit
from neuroscribe.errors import StoreError, StudyError
from neuroscribe.secrets.addresses import fault_of
from neuroscribe.secrets.known import know, know_variables
from resources.alerts import VARIABLE as ALERT
from resources.expectations import Expectations
from resources.labels import LabelFiles
from resources.llm.limits_engine import VARIABLE as LIMITS
from resources.llm.opening import LLMs
from resources.models.artefacts import Licences
from resources.models.encoder import TextEncoders
from resources.models.subject import SubjectModels
from resources.progress import ProgressDisplay
from resources.store.calls import Calls
from resources.store.datasets import Datasets
from resources.store.disk import finding
from resources.store.outages import wait_for_s3
from resources.store.tables import TableFolders, TableIO
from resources.store.tensors import Tensors
from resources.texts import Texts

ROOT = Path(__file__).resolve().parent.parent
EXECUTORS = ("in_process", "multiprocess", "ray")


@dataclass(frozen=True)
class Environment:
    """Where this installation keeps and finds things."""

    store: str
    cache: str
    studies: Path
    dagster_home: Path
    endpoint_url: str | None = None
    device: str = "auto"
    batch_tokens: int = 0
    checkpoint_seconds: int = 60
    hub: bool = True
    llm_base_url: str = ""
    llm_api_key: str = field(default="", repr=False)
    llm_concurrency: int = 16
    llm_requests_per_minute: int = 0
    llm_tokens_per_minute: int = 0
    llm_wait_minutes: int = 30
    llm_batch_wait_minutes: int = 1440
    llm_budget_usd: float | None = None
    llm_budget_hours: int = 24
    limits_database: str = field(default="", repr=False)
    simulator_llm_base_url: str = ""
    simulator_llm_api_key: str = field(default="", repr=False)
    paraphraser_llm_base_url: str = ""
    paraphraser_llm_api_key: str = field(default="", repr=False)
    executor: str = "in_process"
    ray_address: str = "auto"
    ray_gpus: float = 0.0
    ui_hosts: tuple[str, ...] = ()
    nightly_layers: int | None = None
    alert_url: str = field(default="", repr=False)
    commit: str = UNKNOWN
    checked: bool = False
    """Whether the studies are only looked at, and a broken one is an error."""
    unguarded: bool = False
    """Whether a page is served that answers everybody."""

    @classmethod
    def read(cls, variables: Mapping[str, str] | None = None) -> "Environment":
        """Return the settings of the process, or of the given variables."""
        # An empty variable is one that is not set.
        given = {k: v for k, v in (os.environ if variables is None else variables).items() if v}
        know_variables(given)
        _check_addresses(given)
        wait_for_s3(60.0 * _number(given, "NEUROSCRIBE_S3_WAIT_MINUTES", 30, least=0))
        return cls(
            store=_place(given.get("NEUROSCRIBE_STORE", "store")),
            cache=_place(given.get("NEUROSCRIBE_CACHE", ".cache/neuroscribe")),
            studies=Path(_place(given.get("NEUROSCRIBE_STUDIES", "studies"))),
            dagster_home=Path(_place(given.get("DAGSTER_HOME", ".dagster"))),
            endpoint_url=given.get("NEUROSCRIBE_S3_ENDPOINT") or None,
            device=given.get("NEUROSCRIBE_DEVICE", "auto"),
            batch_tokens=_number(given, "NEUROSCRIBE_BATCH_TOKENS", 0, least=0),
            checkpoint_seconds=_number(given, "NEUROSCRIBE_CHECKPOINT_SECONDS", 60, least=0),
            hub=given.get("NEUROSCRIBE_HUB", "1") != "0",
            llm_base_url=given.get("NEUROSCRIBE_LLM_BASE_URL", ""),
            llm_api_key=given.get("NEUROSCRIBE_LLM_API_KEY", ""),
            llm_concurrency=_number(given, "NEUROSCRIBE_LLM_CONCURRENCY", 16),
            llm_requests_per_minute=_number(given, "NEUROSCRIBE_LLM_REQUESTS_PER_MINUTE", 0, least=0),
            llm_tokens_per_minute=_number(given, "NEUROSCRIBE_LLM_TOKENS_PER_MINUTE", 0, least=0),
            llm_wait_minutes=_number(given, "NEUROSCRIBE_LLM_WAIT_MINUTES", 30),
            llm_batch_wait_minutes=_number(given, "NEUROSCRIBE_LLM_BATCH_WAIT_MINUTES", 1440, least=0),
            llm_budget_usd=_decimal(given, "NEUROSCRIBE_LLM_BUDGET_USD", "US dollars such as 2.50"),
            llm_budget_hours=_number(given, "NEUROSCRIBE_LLM_BUDGET_HOURS", 24),
            limits_database=_database(given),
            simulator_llm_base_url=given.get("NEUROSCRIBE_SIMULATOR_LLM_BASE_URL", ""),
            simulator_llm_api_key=given.get("NEUROSCRIBE_SIMULATOR_LLM_API_KEY", ""),
            paraphraser_llm_base_url=given.get("NEUROSCRIBE_PARAPHRASER_LLM_BASE_URL", ""),
            paraphraser_llm_api_key=given.get("NEUROSCRIBE_PARAPHRASER_LLM_API_KEY", ""),
            executor=_one_of(given, "NEUROSCRIBE_EXECUTOR", EXECUTORS),
            ray_address=given.get("NEUROSCRIBE_RAY_ADDRESS", "auto"),
            ray_gpus=_decimal(given, "NEUROSCRIBE_RAY_GPUS", "a number of GPUs such as 1 or 0.5") or 0.0,
            ui_hosts=_hosts(given, "NEUROSCRIBE_UI_HOSTS"),
            nightly_layers=_number(given, "NEUROSCRIBE_NIGHTLY_LAYERS", 0, least=0) or None,
            alert_url=_alert_url(given),
            commit=given.get("NEUROSCRIBE_COMMIT") or _commit(),
            # `dg check defs` sets the first by itself, and `dg dev`, alone of all, the second.
            checked="DAGSTER_IS_DEFS_VALIDATION_CLI" in given,
            unguarded="DAGSTER_PROJECT_ENV_FILE_PATHS" in given,
        )

    @classmethod
    def of_worker(cls, told: Mapping[str, str]) -> "Environment":
        """Return the settings of a process on another machine: its own, but for what it was `told`."""
        return cls.read({**os.environ, **told})

    def told(self) -> dict[str, str]:
        """Return the variables that such a process is told: where studies, tables and tensors are.

        Never a key, and never a server's address, to which it would send a key of its own.
        """
        places = {"NEUROSCRIBE_STORE": self.store, "NEUROSCRIBE_STUDIES": str(self.studies)}
        return places | ({"NEUROSCRIBE_S3_ENDPOINT": self.endpoint_url} if self.endpoint_url else {})

    def resources(self) -> dict[str, Any]:
        """Return the adapters that fulfil what the assets ask for, by the names the assets use."""
        stored = {"root": self.store, "endpoint_url": self.endpoint_url}
        fetched = {"cache_dir": self.cache, "hub": self.hub}
        return {
            "io_manager": TableIO(**stored, commit=self.commit),
            "tables": TableFolders(**stored),
            "tensors": Tensors(**stored),
            "calls": Calls(**stored),
            "datasets": Datasets(**stored),
            "labels": LabelFiles(endpoint_url=self.endpoint_url),
            "texts": Texts(**fetched, endpoint_url=self.endpoint_url),
            "subject": SubjectModels(
                device=self.device,
                batch_tokens=self.batch_tokens,
                checkpoint_seconds=self.checkpoint_seconds,
                **fetched,
            ),
            "encoders": TextEncoders(**fetched),
            "llm": LLMs(
                device=self.device,
                **fetched,
                base_url=self.llm_base_url,
                api_key=self.llm_api_key,
                simulator_base_url=self.simulator_llm_base_url,
                simulator_api_key=self.simulator_llm_api_key,
                paraphraser_base_url=self.paraphraser_llm_base_url,
                paraphraser_api_key=self.paraphraser_llm_api_key,
                concurrency=self.llm_concurrency,
                requests_per_minute=self.llm_requests_per_minute,
                tokens_per_minute=self.llm_tokens_per_minute,
                patience_s=60.0 * self.llm_wait_minutes,
                batch_wait_minutes=self.llm_batch_wait_minutes,
                budget_usd=self.llm_budget_usd,
                budget_hours=float(self.llm_budget_hours),
                limits_database=self.limits_database or str(self.dagster_home / "limits.db"),
                store=self.store,
                store_endpoint_url=self.endpoint_url,
            ),
            "expectations": Expectations(),
            "licences": Licences(),
            "progress": ProgressDisplay(),
        }


def use_dagster_home(environment: Environment) -> None:
    """Point Dagster at the environment's instance, with the shipped settings if it has none yet."""
    settings = environment.dagster_home / "dagster.yaml"
    try:
        settings.parent.mkdir(parents=True, exist_ok=True)
        if not settings.exists():
            # Whole or not at all: another process may look at it meanwhile.
            part = settings.with_name(f"dagster.yaml.{os.getpid()}.part")
            shutil.copyfile(ROOT / "deploy" / "dagster.yaml", part)
            part.replace(settings)
    except OSError as error:
        remedy = finding(error, settings, elsewhere="another folder (DAGSTER_HOME)")
        raise StoreError(f"{settings}: cannot be written: {remedy} ({error})") from error
    os.environ["DAGSTER_HOME"] = str(environment.dagster_home)


def settle(environment: Environment) -> None:
    """Tell libraries where they may write, and who runs them: in a container the system may know neither.

    A home is needed by their imports and a name by those of folders, also where nothing is kept there.
    """
    cache = Path(environment.cache)
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "numba"))
    # A backfill whose code server is gone for a moment goes on when it is back, and is not failed.
    os.environ.setdefault("DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR", "1")
    if not _has_home():
        os.environ["HOME"] = str(cache / "home")
    try:
        getuser()
    except (KeyError, OSError):
        os.environ["USER"] = "neuroscribe"


@cache
def _commit() -> str:
    """Return the commit of the code as it was when it was first asked for: later edits run in no process."""
    return code_commit(ROOT)


def _has_home() -> bool:
    """Tell whether the user has a folder, be it one that may only be read: credentials may lie there."""
    try:
        return os.access(Path.home(), os.R_OK | os.X_OK)
    except RuntimeError:
        return False


def _place(value: str) -> str:
    """Return a place as it is if it is an address, absolute or below `~`, else below the project's folder."""
    try:
        return value if "://" in value else str(ROOT / Path(value).expanduser())
    except RuntimeError as error:
        raise StudyError(f"{value!r}: this user has no home, so name the whole path") from error


def _hosts(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Return the hosts in a list, separated by commas or blanks."""
    hosts = tuple(given.get(name, "").replace(",", " ").split())
    for host in hosts:
        if not re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\])(:\d+)?", host, re.ASCII):
            raise StudyError(f"{name} names {host!r}; name hosts, as in example.org or example.org:8443")
    return hosts


def _check_addresses(given: Mapping[str, str]) -> None:
    """Raise StudyError for an address with a secret, before Dagster shows it as a resource's setting.

    Those of the limits' database and of alerts are treated like keys instead: no message, page or
    representation shows them.
    """
    for name, value in given.items():
        if name.startswith("NEUROSCRIBE_") and name not in (LIMITS, ALERT) and (fault := fault_of(value)):
            raise StudyError(f"{name} = {fault}")


def _database(given: Mapping[str, str]) -> str:
    """Return the file or address of the limits' database; raises StudyError for an address without `://`.

    As a file's name it would be shown, with the password in it.
    """
    place = given.get(LIMITS, "")
    if "://" not in place and re.match(r"[^/]*:.*@", place):
        raise StudyError(
            f"{LIMITS} is no address; write it as in postgresql+psycopg2://user:password@host/name"
        )
    return _place(place) if place else ""


def _alert_url(given: Mapping[str, str]) -> str:
    """Return the address of alerts, a secret like a key; raises StudyError for what is none."""
    url = given.get(ALERT, "").strip()
    if url and not re.match(r"https?://[^/\s]+", url):
        raise StudyError(f"{ALERT} is no address; give one that begins with https:// or http://, or unset it")
    # What lies beyond the host tells who may post; the host is in other messages, too.
    for part in re.split(r"[/?&=#]", url)[3:]:
        know(part, is_sent=False)
    return url


def _decimal(given: Mapping[str, str], name: str, what: str) -> float | None:
    text = given.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        raise StudyError(f"{name} is {text!r}; set it to {what}, or unset it")
    return float(text)


def _one_of(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """Return one of some words; the first where none is given."""
    if (value := given.get(name, choices[0])) not in choices:
        raise StudyError(f"{name} is {value!r}; set it to one of {', '.join(choices)}, or unset it")
    return value


def _number(given: Mapping[str, str], name: str, default: int, *, least: int = 1) -> int:
    text = given.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise StudyError(f"{name} is {text!r}; set it to a whole number from {least} on, or unset it")
    return int(text)
