"""The files of deploy/: what they name is there, they hold no secret, and their settings load."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.workspace.load_target import WorkspaceFileTarget

DEPLOY = Path(__file__).parents[1] / "deploy"
README = (DEPLOY / "README.md").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
VALUES = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text(encoding="utf-8"))
SHARED = (DEPLOY / "dagster.postgres.yaml").read_text(encoding="utf-8")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY", re.IGNORECASE)


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield all names with their values, of mappings in any depth and of lists of name and value."""
    if isinstance(value, dict):
        if isinstance(value.get("name"), str) and "value" in value:
            yield value["name"], value["value"]
        for name, inner in value.items():
            yield name, inner
            yield from _pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pairs(inner)


def _asked(setting: Any) -> set[str]:
    """Return the environment variables that settings of Dagster ask for."""
    return {value for name, value in _pairs(setting) if name == "env" and isinstance(value, str)}


def test_the_readme_tells_of_every_service_and_every_file() -> None:
    assert set(re.findall(r"^\| `([a-z]+)` \|", README, re.MULTILINE)) == set(SERVICES)
    table = README.split("## One machine")[0]
    named = {name for name in re.findall(r"`([^`\s]+)`", table) if (DEPLOY / name).exists()}
    present = {path.relative_to(DEPLOY).as_posix() for path in DEPLOY.iterdir()}
    present -= {"README.md", "__pycache__", ".env", "secrets", "bin", "helm", "servers"}
    assert present <= named
    assert {"bin/dagster-webserver", "helm/values.yaml", "helm/cache.yaml"} <= named


def test_only_the_proxy_can_be_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    reached = {name: set(service.get("networks", [])) for name, service in SERVICES.items()}
    assert reached["proxy"] == {"front"}
    assert [name for name, networks in reached.items() if "front" in networks] == ["proxy", "page"]
    assert [name for name, networks in reached.items() if "out" in networks] == ["code"]
    assert reached["database"] == {"back"}
    assert reached["store"] == {"storage"}
    assert all(COMPOSE["networks"][name]["internal"] for name in ("back", "storage"))


def test_no_file_holds_a_password_or_a_key() -> None:
    told = re.compile(r"\$\{[A-Z_]+:\?set it in deploy/\.env\}")
    for name, value in _pairs([COMPOSE, VALUES]):
        if SECRET.search(name) and name.isupper():
            assert told.fullmatch(value), name
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", (DEPLOY / "env.example").read_text(), re.MULTILINE))
    assert {name: value for name, value in example.items() if SECRET.search(name) and value} == {}
    needed = set(re.findall(r"\$\{([A-Z_]+):\?", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    assert needed <= set(example)
    assert yaml.safe_load(SHARED)["storage"]["postgres"]["postgres_db"]["password"] == {
        "env": "POSTGRES_PASSWORD"
    }


def test_only_the_code_server_is_given_the_keys_of_servers() -> None:
    assert [name for name, service in SERVICES.items() if "env_file" in service] == ["code"]
    for name in ("page", "daemon", "proxy", "database"):
        keys = {key for key in SERVICES[name]["environment"] if SECRET.search(key)}
        assert keys <= {"POSTGRES_PASSWORD"}, name
    secrets = VALUES["dagster-user-deployments"]["deployments"][0]["envSecrets"]
    assert {"name": "neuroscribe-llm"} in secrets
    assert {"name": "neuroscribe-llm"} not in VALUES["dagsterWebserver"]["envSecrets"]


def test_what_settings_and_workspace_ask_of_the_environment_is_given_to_each_service() -> None:
    workspace = yaml.safe_load((DEPLOY / "workspace.yaml").read_text(encoding="utf-8"))
    asked = _asked(yaml.safe_load(SHARED)) | _asked(workspace)
    assert {"POSTGRES_PASSWORD", "CODE_SERVER_HOST"} <= asked
    for name in ("page", "daemon", "code"):
        assert asked <= set(SERVICES[name]["environment"]), name
        assert "./dagster.postgres.yaml:/srv/dagster/dagster.yaml:ro" in SERVICES[name]["volumes"]
    code = SERVICES["code"]["command"]
    assert code[code.index("--known-as") + 1] == SERVICES["page"]["environment"]["CODE_SERVER_HOST"] == "code"


def test_what_waits_for_a_healthy_service_waits_for_one_that_tells() -> None:
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert "HEALTHCHECK" in image  # of the page
    awaited = {
        other
        for service in SERVICES.values()
        for other, how in dict(service.get("depends_on", {})).items()
        if how["condition"] == "service_healthy"
    }
    assert awaited == {"page", "code", "database"}
    assert all("healthcheck" in SERVICES[name] for name in ("code", "database", "daemon"))


@pytest.mark.parametrize("name", ["dagster.yaml", "dagster.postgres.yaml"])
def test_dagster_reads_the_settings(name: str, tmp_path: Path) -> None:
    copyfile(DEPLOY / name, tmp_path / "dagster.yaml")
    settings, _ = dagster_instance_config(str(tmp_path))
    assert settings["concurrency"]["pools"]["default_limit"] == 1


def test_dagster_reads_the_settings_that_stand_in_comments(tmp_path: Path) -> None:
    blocks = re.findall(r"^# ((?:run_launcher|compute_logs):\n(?:#   .*\n)+)", SHARED, re.MULTILINE)
    said = "".join(re.sub("^# ", "", block, flags=re.MULTILINE) for block in blocks)
    (tmp_path / "dagster.yaml").write_text(SHARED + said, encoding="utf-8")
    settings, _ = dagster_instance_config(str(tmp_path))
    assert settings["run_launcher"]["class"] == "DockerRunLauncher"
    assert settings["compute_logs"]["class"] == "S3ComputeLogManager"
    networks = {network.get("name") for network in COMPOSE["networks"].values()}
    assert set(settings["run_launcher"]["config"]["networks"]) <= networks


def test_dagster_reads_the_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_SERVER_HOST", "code")
    monkeypatch.setenv("CODE_SERVER_PORT", "4000")
    (origin,) = WorkspaceFileTarget([str(DEPLOY / "workspace.yaml")]).create_origins()
    assert (origin.location_name, origin.host, origin.port) == ("neuroscribe", "code", 4000)  # pyright: ignore


def test_all_settings_of_dagster_agree() -> None:
    local, shared = yaml.safe_load((DEPLOY / "dagster.yaml").read_text()), yaml.safe_load(SHARED)
    for name in ("concurrency", "telemetry", "nux", "run_monitoring", "retention"):
        assert shared[name] == local[name]
    limits, chart = shared["concurrency"]["runs"], VALUES["concurrency"]["runs"]
    assert chart["maxConcurrentRuns"] == limits["max_concurrent_runs"]
    assert chart["tagConcurrencyLimits"] == limits["tag_concurrency_limits"]
    assert VALUES["dagsterDaemon"]["runRetries"]["maxRetries"] == shared["run_retries"]["max_retries"]
    assert VALUES["telemetry"] == shared["telemetry"]
    database = shared["storage"]["postgres"]["postgres_db"]
    assert VALUES["postgresql"]["postgresqlScheme"] == database["scheme"] == "postgresql+psycopg2"


def test_the_chart_s_page_has_the_guard_and_a_login_before_it() -> None:
    page, ingress = VALUES["dagsterWebserver"], VALUES["ingress"]
    assert {"name": "NEUROSCRIBE_UI_HOSTS", "value": ingress["dagsterWebserver"]["host"]} in page["env"]
    assert any("auth-url" in name for name in ingress["annotations"])
    (host,) = page["readinessProbe"]["httpGet"]["httpHeaders"]
    assert host == {"name": "Host", "value": f"127.0.0.1:{page['service']['port']}"}
    shim = (DEPLOY / "bin" / "dagster-webserver").read_text(encoding="utf-8")
    assert "dagster_project.ui" in shim
    assert "PATH=/app/deploy/bin:" in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def test_runs_on_kubernetes_have_a_gpu_and_share_a_cache() -> None:
    run = VALUES["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    assert run["containerConfig"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    (code,) = VALUES["dagster-user-deployments"]["deployments"]
    claim = yaml.safe_load((DEPLOY / "helm" / "cache.yaml").read_text(encoding="utf-8"))["metadata"]["name"]
    assert [volume["persistentVolumeClaim"]["claimName"] for volume in code["volumes"]] == [claim]
    assert code["includeConfigInLaunchedRuns"] == {"enabled": True}


def test_the_image_is_made_of_locked_files_and_run_by_a_user_of_no_rights() -> None:
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    ignored = (DEPLOY.parent / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "--require-hashes --no-deps --only-binary :all:" in image
    assert [line for line in image.splitlines() if "/pip " in line and "$LOCKED" not in line] == [
        "RUN /venv/bin/pip install -q --no-index --no-deps --no-build-isolation -e . \\"
    ]
    assert re.findall(r"^USER (.*)$", image, re.MULTILINE) == ["10001:10001"]
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", image, re.MULTILINE)
    for source in {name for line in copied for name in line.split()}:
        assert (DEPLOY.parent / source).exists(), source
        assert any(fnmatch(f"!{source}", line) for line in ignored), source
    assert "*" in ignored
    assert {"deploy/.env", "deploy/secrets"} <= set(ignored)
