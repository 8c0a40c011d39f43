import ast
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import distributions, packages_distributions, requires
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from neuroscribe.glossary import WORDS
from neuroscribe.kinds import read_study

ROOT = Path(__file__).parent.parent
APPLICATION = ("dagster_project", "assets", "resources")
OURS = (*APPLICATION, "neuroscribe")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, GROUPS = PYPROJECT["project"], PYPROJECT["dependency-groups"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
RUN = ("requirements.lock", "requirements-torch.lock")
TESTED = (*RUN, "requirements-ray.lock", "requirements-dev.lock")
LOCKS = (*TESTED, "requirements-deploy.lock", "requirements-torch-cpu.lock")
README = (ROOT / "README.md").read_text(encoding="utf-8")
ENVIRONMENT = (ROOT / "dagster_project" / "environments.py").read_text(encoding="utf-8")

# Written so that this file does not contain what it looks for.
REGISTRY = re.compile(r"\b(pypi|pythonhosted|npmjs|anaconda|pytorch)\.(org|com|io)\b", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.$~}-])/(home|Users|root|work|tmp|opt|mnt)/\w")

IMPORT_THE_CORE = """
import importlib, pathlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
for path in sorted(pathlib.Path("neuroscribe").rglob("*.py")):
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    importlib.import_module(module)
    print(module)
"""

HEAVY = {"torch", "transformers", "numba", "scipy", "matplotlib", "great_expectations", "openai", "pandas"}
"""What takes between a quarter of a second and four seconds to import."""
IMPORTED = """
import importlib, sys

for module in sys.argv[1:]:
    importlib.import_module(module)
print(*sys.modules)
"""


@pytest.mark.parametrize("name", OURS)
def test_no_other_distribution_claims_our_import_names(name: str):
    # An editable installation has no entry at all.
    assert set(packages_distributions().get(name, [])) <= {PROJECT["name"]}


def test_our_packages_lie_side_by_side_in_this_checkout():
    origins = {name: find_spec(name).origin for name in OURS}
    assert origins == {name: str(ROOT / name / "__init__.py") for name in OURS}


def test_every_folder_of_modules_is_a_package_so_that_import_rules_see_it():
    folders = {path.parent for name in OURS for path in (ROOT / name).rglob("*.py")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_no_folder_of_tests_is_a_package():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_nobody_can_upload_it_by_accident():
    assert "Private :: Do Not Upload" in PROJECT["classifiers"]


def test_the_import_contracts_hold():
    code = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache', '--no-logo'])"
    done = _python("-c", code)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_core_does_without_orchestrator_storage_and_servers():
    absent = ("dagster", "openai", "httpx2", "s3fs", "boto3", "botocore", "upath", "great_expectations")
    done = _python("-c", IMPORT_THE_CORE, *absent)
    assert done.returncode == 0, done.stderr
    assert {"neuroscribe.capture.run", "neuroscribe.score.stage"} <= set(done.stdout.split())


@pytest.mark.parametrize("package", OURS)
def test_only_the_environment_module_reads_environment_variables(package: str):
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if _name(node) in ("environ", "environb", "getenv", "putenv")
    }
    assert readers <= {"dagster_project/environments.py"}


def test_the_locks_pin_every_direct_dependency_to_a_version_the_project_allows():
    run, everything = _lock(*RUN), _lock(*TESTED)
    for lock, direct in ((run, _stated("neuroscribe", "app", "setup")), (everything, _stated("ray", "dev"))):
        assert set(direct) <= set(lock)
        unfit = [str(need) for name, need in direct.items() if not need.specifier.contains(lock[name])]
        assert unfit == []


def test_what_a_run_needs_is_locked_apart_from_what_ray_and_tests_need():
    assert len(_lock(*TESTED)) == sum(len(_lock(name)) for name in TESTED)
    assert len(_lock(*RUN)) == len(_lock(RUN[0])) + len(_lock(RUN[1]))
    rules = re.findall(r"^([a-z-]+): (?:.* )?(?:setup-tests|lint)\b", MAKEFILE, re.MULTILINE)
    assert sorted(rules) == ["check", "lint", "lock", "test"]


def test_what_the_image_needs_beyond_a_run_is_locked_in_releases_that_tests_and_runs_agree_with():
    image, others = _lock("requirements-deploy.lock"), _lock(*TESTED)
    assert set(_stated("deploy")) <= set(image)
    assert not set(image) & set(_lock(*RUN))
    assert {name: version for name, version in image.items() if others.get(name, version) != version} == {}


def test_a_study_s_name_reaches_its_command_whole():
    recipes = [line for line in MAKEFILE.splitlines() if line.startswith("\t") and "$(STUDY)" in line]
    assert [line for line in recipes if '"$(STUDY)"' not in line] == []
    assert recipes


def test_what_a_run_needs_is_locked_with_all_that_it_needs_itself():
    lock = set(_lock(*RUN))
    absent = {
        need.name
        for name in lock & {canonicalize_name(found.name) for found in distributions()}
        for need in map(Requirement, requires(name) or [])
        if not need.marker or need.marker.evaluate({"extra": ""})
        if canonicalize_name(need.name) not in lock
    }
    assert absent == set()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_nothing_but_exact_versions_with_hashes(name: str):
    text = (ROOT / name).read_text(encoding="utf-8")
    pins = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    pin = r"[a-z0-9-]+==[a-z0-9.+]+( ; [^\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert re.fullmatch(rf"({pin})+", pins)


def test_the_locks_hold_one_dagster_release_and_one_torch():
    family = {name: version for name, version in _lock(*RUN).items() if name.startswith("dagster")}
    assert len(family) >= 8
    # Its integrations have a number of their own.
    assert set(family.values()) == {"1.13.27", "0.29.27"}
    (release,) = _stated("neuroscribe")["torch"].specifier
    assert _lock("requirements-torch.lock")["torch"] == release.version
    assert _lock("requirements-torch-cpu.lock") == {"torch": f"{release.version}+cpu"}


def test_the_setup_installs_nothing_that_no_lock_names():
    lines = MAKEFILE.replace("\\\n", " ").splitlines()
    installing = [line for line in lines if "-m pip" in line]
    assert len(installing) >= 4
    assert [
        line for line in installing if "$(LOCKED)" not in line and "--no-index --no-deps" not in line
    ] == []
    assert re.search(r"^LOCKED := install .*--require-hashes .*--only-binary :all:$", MAKEFILE, re.MULTILINE)


def test_the_core_states_what_it_imports_and_nothing_else():
    stated, imported = set(_stated("neuroscribe")), _imported("neuroscribe")
    assert {module for module, homes in imported.items() if not homes & stated} == set()
    assert stated - set().union(*imported.values()) == set()


def test_the_application_states_what_it_imports_beyond_the_core_and_what_others_load():
    core, added, imported = set(_stated("neuroscribe")), set(_stated("app")), _imported(*APPLICATION)
    others = {module for module, homes in imported.items() if not homes & (core | added)}
    assert others <= {"ray", "dagster_ray"}
    assert added - set().union(*imported.values()) == {
        "accelerate", "dagster-dg-cli", "dagster-postgres", "pandas", "psycopg2-binary", "typer",
    }  # fmt: skip


def test_only_modules_named_after_ray_import_it_and_nothing_imports_them_before_it_is_asked_for():
    importing = re.compile(r"^( *)(from|import) (ray|dagster_ray|dagster_project\.ray_\w+)\b", re.MULTILINE)
    found = {
        path.relative_to(ROOT).as_posix(): {
            indent for indent, *_ in importing.findall(path.read_text("utf-8"))
        }
        for package in OURS
        for path in (ROOT / package).rglob("*.py")
        if not path.name.startswith("ray_")
    }
    assert {name for name, indents in found.items() if indents} == {"dagster_project/executors.py"}
    assert "" not in found["dagster_project/executors.py"]


def test_nothing_is_stated_twice():
    parts = [set(_stated(part)) for part in ("neuroscribe", "app", "ray", "deploy", "dev")]
    assert sum(map(len, parts)) == len(set().union(*parts))


def test_every_import_of_tests_and_benchmarks_is_a_stated_dependency():
    stated = set(_stated("neuroscribe", "app", "ray", "dev"))
    imported = _imported("tests", "benchmarks")
    assert {module for module, homes in imported.items() if not homes & stated} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_every_module_of_the_benchmarks_can_be_imported(path: Path):
    """No type checker reads them, and they are seldom run."""
    if path.stem not in ("__main__", "__init__"):
        import_module(f"benchmarks.{path.stem}")


def test_no_tracked_file_names_a_package_registry():
    assert _places(REGISTRY) == []


def test_no_tracked_file_holds_a_path_of_one_machine():
    assert _places(MACHINE_PATH) == []


def test_the_first_commands_of_the_readme_are_those_that_ci_runs():
    block = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    assert block is not None
    stated = {line.partition("#")[0].strip() for line in block[1].splitlines()}
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in ci if line.startswith("make ")] == ["make test", "make run"]
    assert stated == {"make test", "make run"}
    assert README.index(block[0]) < 1500


def test_the_readme_tells_the_size_of_the_default_study():
    study = read_study(ROOT / "studies" / "embedded.toml")
    layers, width = study.subject.layers, study.subject.neurons_per_layer
    sampled = len(study.sampled_layers) * int(study.sample.neurons_per_layer)
    prose = " ".join(README.split())
    assert f"all {layers * width:,} neurons** ({layers} layers of {width:,})" in prose
    assert f"{study.corpus.sequences:,} sequences of Wikipedia text" in prose
    assert f"Explanations of {sampled} neurons** over {len(study.sampled_layers)} layers" in prose


def test_the_study_that_the_readme_shows_is_a_valid_one(tmp_path: Path):
    block = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert block is not None
    (tmp_path / "mine.toml").write_text(block[1], encoding="utf-8")
    assert read_study(tmp_path / "mine.toml").llm.provider == "openai"


def test_the_readme_explains_its_numbers_in_the_words_of_the_glossary():
    prose = " ".join(README.split())
    absent = [
        word for word in ("score", "regime", "interval", "ceiling", "control") if WORDS[word] not in prose
    ]
    assert absent == []


def test_the_readme_names_the_release_of_torch_that_comes_with_the_core():
    (release,) = _stated("neuroscribe")["torch"].specifier
    assert f"of torch it must be {release.version}." in " ".join(README.split())


def test_the_readme_lists_every_variable_that_is_read():
    read = set(re.findall(r"NEUROSCRIBE_[A-Z0-9_]+", ENVIRONMENT))
    assert set(re.findall(r"NEUROSCRIBE_[A-Z0-9_]+", README)) == read


def test_the_graph_and_what_explains_with_served_models_load_without_heavy_libraries():
    """Each run, and each process beside the page, begins with these imports."""
    folders = ("explain", "simulate", "judge", "choose", "score", "describe", "publish")
    stages = [f"neuroscribe.{folder}.stage" for folder in folders]
    done = _python("-c", IMPORTED, "dagster_project.definitions", *stages, "neuroscribe.report.pictures")
    assert done.returncode == 0, done.stderr
    assert HEAVY.intersection(done.stdout.split()) == set()


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def _name(node: ast.AST) -> str | None:
    """Return what an attribute access or an import names."""
    match node:
        case ast.Attribute():
            return node.attr
        case ast.alias():
            return node.name
        case _:
            return None


def _lock(*names: str) -> dict[str, str]:
    """Return the versions in some lock files, by distribution."""
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in names)
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def _stated(*parts: str) -> dict[str, Requirement]:
    """Return what pyproject.toml asks for, by name: for `neuroscribe`, or as an extra or group."""
    lists = {"neuroscribe": PROJECT["dependencies"], **PROJECT["optional-dependencies"], **GROUPS}
    needs = (Requirement(line) for part in parts for line in lists[part])
    return {canonicalize_name(need.name): need for need in needs}


def _imported(*folders: str) -> dict[str, set[str]]:
    """Return the top-level modules from elsewhere that some file imports, each with its distributions."""
    modules: set[str] = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    modules.add(node.module.partition(".")[0])
    modules -= {*sys.stdlib_module_names, *OURS, "tests", "benchmarks"}
    homes = packages_distributions()
    return {module: {canonicalize_name(name) for name in homes.get(module, [])} for module in modules}


def _places(pattern: re.Pattern[str]) -> list[str]:
    """Return file and line of every match in the files that are, or could be, tracked."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [
        f"{name}:{number}: {line.strip()[:80]}"
        for name in listed.stdout.split("\0")
        if name and (ROOT / name).is_file()
        for number, line in enumerate((ROOT / name).read_text("utf-8", "replace").splitlines(), start=1)
        if pattern.search(line)
    ]
