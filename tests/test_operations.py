"""The operations guide names what there is: all checks with their severity, variables, commands, figures."""

import json
import re
from pathlib import Path

import pytest

from assets.checks import SUITES
from assets.stage import LAYERS_PER_RUN
from dagster_project.automation import failure_alert, sensors
from neuroscribe.kinds import read_study
from resources.alerts import Webhook

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
STUDIES = sorted((ROOT / "studies").glob("*.toml"))
ENVIRONMENT = (ROOT / "dagster_project" / "environments.py").read_text(encoding="utf-8")


def _tables() -> dict[str, list[tuple[str, str]]]:
    """Return the checks that the guide's tables name, with their severities, by asset."""
    checks = GUIDE.split("## 7. When a check fails")[1]
    found: dict[str, list[tuple[str, str]]] = {}
    for part in checks.split("\n### ")[1:]:
        asset, _, table = part.partition("\n")
        rows = re.findall(r"^\| (`[^|]+`) \| (\w+) \|", table, re.MULTILINE)
        found[asset] = [(name, word) for names, word in rows for name in re.findall(r"`(\w+)`", names)]
        assert len(rows) == table.count("\n| `"), f"each row of {asset} names checks and a severity"
    return found


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_the_guide_tells_of_every_check_of_a_study_once_and_of_no_other(file: Path) -> None:
    study = read_study(file)
    expected = {
        asset: sorted((rule.name, rule.severity) for rule in suite.rules(study))
        for asset, suite in SUITES.items()
    }
    assert {asset: sorted(checks) for asset, checks in _tables().items()} == expected


def test_every_variable_in_the_guide_is_read_by_the_environment() -> None:
    named = set(re.findall(r"NEUROSCRIBE_[A-Z0-9_]+", GUIDE))
    assert named <= set(re.findall(r"NEUROSCRIBE_[A-Z0-9_]+", ENVIRONMENT))
    assert "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR" in ENVIRONMENT


def test_every_command_and_file_in_the_guide_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.findall(r"(?:`|^)make ([a-z-]+)((?: [A-Z]+=[\w,.]+)*)[`\n #]", GUIDE, re.MULTILINE)
    assert {"plan", "run", "ui", "checks", "forget"} <= {target for target, _ in commands}
    for target, settings in commands:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
        for name in re.findall(r"([A-Z]+)=", settings):
            assert f"$({name})" in makefile or f"$(if $({name})," in makefile, f"make {target} {name}="
    for module in re.findall(r"-m (dagster_project\.\w+)", GUIDE):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
    for path in re.findall(r"`((?:deploy|assets|studies|neuroscribe)/[\w./-]+)`", GUIDE):
        assert path == "deploy/.env" or (ROOT / path).exists(), path


def test_every_measured_figure_that_the_guide_names_is_among_the_results() -> None:
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:capture|dagster)\.[\w.]+?)\.?\*?`", GUIDE)
    assert len(named) >= 6
    assert [name for name in named if name != "dagster.yaml" and f"| `{name}" not in results] == []


def test_the_guide_knows_sensors_and_the_body_of_an_alert_and_how_many_layers_a_run_has() -> None:
    study = read_study(ROOT / "studies" / "gpt2_xl.toml")
    names = [sensor.name.replace("gpt2_xl", "STUDY") for sensor in sensors(study, endpoint_url=None)]
    alert = failure_alert(Webhook("https://example.org/hook"))
    assert all(f"`{name}`" in GUIDE for name in [*names, alert.name])
    block = re.search(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    assert block is not None
    assert set(json.loads(block[1])) == {"text", "run", "job", "study", "partition", "backfill", "error"}
    assert f"| {LAYERS_PER_RUN} of a backfill" in GUIDE
