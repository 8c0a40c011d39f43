"""What pip does with this project, done for real: no part of the environment of the tests is borrowed.

The whole environment takes 2 GB and half a minute where pip need not download; pip keeps what it downloads,
and the setup of the project has downloaded the same releases.
"""

import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Without Dagster\n")[2]

A_NOTEBOOK = """
from neuroscribe.testing.planted import planted_corpus, planted_tokenizer
from neuroscribe.testing.random_subjects import random_subject

tokenizer, texts = planted_tokenizer(), planted_corpus(60, seed=1)
model = random_subject("gpt2", n_layer=4, n_positions=64, vocab_size=len(tokenizer))
"""
SHOW_FILES = """
from importlib.metadata import files

print(*(file for file in files("neuroscribe") if ".dist-info" not in file.parts[0]), sep="\\n")
"""
SHOW_DISTRIBUTIONS = """
from importlib.metadata import distributions

print(*(distribution.name for distribution in distributions()), sep="\\n")
"""
IMPORT_EVERY_MODULE = """
import ast, importlib, pathlib, pkgutil, neuroscribe

for module in pkgutil.walk_packages(neuroscribe.__path__, "neuroscribe."):
    file = importlib.import_module(module.name).__file__
    print(file)
    # What functions import is not asked for until they are called.
    for node in ast.walk(ast.parse(pathlib.Path(file).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            [importlib.import_module(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            importlib.import_module(node.module)
"""
SHOW_ORIGINS = """
from importlib.util import find_spec

for name in ("dagster_project", "assets", "resources", "neuroscribe"):
    print(find_spec(name).origin)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel that the README's second command makes, in a folder `dist` elsewhere."""
    folder = tmp_path_factory.mktemp("wheel") / "dist"
    _pip(*_commands()[1], "-w", str(folder), at=ROOT)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def notebook(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the Python of an environment in which the README's third command was given and nothing else.

    The constraints keep out releases that are newer than the project's, and add nothing.
    """
    folder = tmp_path_factory.mktemp("notebook")
    python = _empty_environment(folder)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(_releases()), encoding="utf-8")
    _pip(
        "--python",
        str(python),
        *_commands()[2],
        "--no-compile",
        "-c",
        str(constraints),
        at=wheel.parent.parent,
    )
    yield python
    shutil.rmtree(folder)


def test_the_wheel_holds_every_file_of_the_core_and_nothing_else(wheel: Path):
    kept = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert kept == _files_of_the_core()
    assert {"neuroscribe/py.typed", "neuroscribe/judge/prompts.toml"} <= kept


def test_the_checkout_installs_the_same_files(tmp_path: Path):
    python = _empty_environment(tmp_path / "environment")
    _pip("--python", str(python), *_commands()[0], "--no-deps", "--no-compile", at=ROOT)
    assert set(_printed(python, SHOW_FILES, at=tmp_path)) == _files_of_the_core()


def test_an_editable_installation_finds_the_application_too(tmp_path: Path):
    python = _empty_environment(tmp_path / "environment")
    _pip("--python", str(python), "install", "--no-deps", "-e", ".", at=ROOT)
    assert _printed(python, SHOW_ORIGINS, at=tmp_path) == [
        str(ROOT / name / "__init__.py") for name in ("dagster_project", "assets", "resources", "neuroscribe")
    ]


def test_neither_orchestrator_nor_validation_nor_stores_nor_server_clients_come_along(
    notebook: Path, tmp_path: Path
):
    names = {canonicalize_name(name) for name in _printed(notebook, SHOW_DISTRIBUTIONS, at=tmp_path)}
    assert {"neuroscribe", "torch", "polars"} <= names
    assert {name for name in names if name.startswith("dagster")} == set()
    assert not names & {"great-expectations", "s3fs", "boto3", "botocore", "openai", "sqlalchemy", "pandas"}


def test_every_module_of_the_core_and_all_that_its_functions_import_is_there(notebook: Path, tmp_path: Path):
    imported = {Path(file) for file in _printed(notebook, IMPORT_EVERY_MODULE, at=tmp_path)}
    assert all(file.is_relative_to(notebook.parent.parent) for file in imported)
    # The package itself is imported by the program.
    assert len(imported) == len([name for name in _files_of_the_core() if name.endswith(".py")]) - 1


def test_the_readme_s_notebook_example_runs_there(notebook: Path, tmp_path: Path):
    *lines, shown = _block("python").splitlines()
    program = "\n".join([A_NOTEBOOK, *lines, f"shown = {shown}", "print(shown.height)"])
    assert _printed(notebook, program, at=tmp_path) == ["20"]  # as many as top_k is by default


def _block(language: str) -> str:
    """Return the first block of the README's section that is in a language."""
    block = re.search(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)
    assert block is not None
    return block[1]


def _commands() -> list[list[str]]:
    """Return the section's three commands for pip: install the checkout, make a wheel, install the wheel."""
    commands = [shlex.split(line, comments=True) for line in _block("sh").splitlines()]
    assert [command[:2] for command in commands] == [["pip", "install"], ["pip", "wheel"], ["pip", "install"]]
    return [command[1:] for command in commands]


def _releases() -> list[str]:
    """Return the releases that the project is locked to, without hashes: our own wheel has none."""
    locks = (ROOT / name for name in ("requirements.lock", "requirements-torch.lock"))
    return [
        line for lock in locks for line in re.findall(r"^[a-z0-9-]+==[^ \\]+", lock.read_text("utf-8"), re.M)
    ]


def _files_of_the_core() -> set[str]:
    files = (path for path in (ROOT / "neuroscribe").rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


def _empty_environment(folder: Path) -> Path:
    """Make an environment without even pip, and return its Python."""
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python"


def _pip(*arguments: str, at: Path) -> None:
    _run(sys.executable, "-m", "pip", *arguments, at=at)


def _printed(python: Path, program: str, *, at: Path) -> list[str]:
    """Return the lines that a program prints; neither the folder nor PYTHONPATH lends it a module."""
    return _run(str(python), "-I", "-B", "-c", program, at=at).splitlines()


def _run(*command: str, at: Path) -> str:
    done = subprocess.run(command, cwd=at, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
