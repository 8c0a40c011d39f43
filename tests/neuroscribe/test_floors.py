"""The floor plan of the core, computed from its imports."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

CORE = Path(__file__).parents[2] / "neuroscribe"
MODULES = sorted(CORE.rglob("*.py"))


def room(path: Path) -> str:
    """Return the folder of a module, or the module itself where it lies in the core's root."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("neuroscribe."))


def folders() -> dict[str, set[str]]:
    """Return for each room those whose modules it imports."""
    arrows: dict[str, set[str]] = {room(path): set() for path in MODULES}
    for path in MODULES:
        arrows[room(path)] |= {other for other in imported_rooms(path) if other in arrows}
    return {one: others - {one} for one, others in arrows.items()}


def test_the_folders_of_the_core_form_no_circle():
    order = list(TopologicalSorter(folders()).static_order())
    assert set(order) == set(folders())


def test_at_most_four_modules_of_the_core_lie_in_no_folder():
    loose = [path.name for path in CORE.glob("*.py") if path.name != "__init__.py"]
    assert len(loose) <= 4, loose


def test_every_folder_says_what_it_holds_what_it_imports_and_what_is_not_there():
    for path in CORE.glob("*/__init__.py"):
        words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert all(part in " ".join(words.split()) for part in ("Holds ", "Imports ", "Not here: ")), path


def test_no_module_has_more_than_400_lines():
    product = [
        *MODULES,
        *(
            p
            for name in ("assets", "resources", "dagster_project")
            for p in (CORE.parent / name).rglob("*.py")
        ),
    ]
    assert [str(path) for path in product if len(path.read_text(encoding="utf-8").splitlines()) > 400] == []
