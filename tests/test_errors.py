"""The tree of errors that `neuroscribe/errors.py` draws is the one that the classes form."""

import ast
import builtins
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import neuroscribe.errors

ROOT = Path(__file__).parents[1]
PACKAGES = ("neuroscribe", "assets", "resources", "dagster_project", "benchmarks")
BASE = "NeuroscribeError"
BRANCH = re.compile(r"(?P<indent>[│ ]*)[├└]── (?P<name>\w+) ")


@cache
def nodes(package: str) -> tuple[ast.AST, ...]:
    files = sorted((ROOT / package).rglob("*.py"))
    return tuple(node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def name_of(expression: ast.expr) -> str:
    return expression.attr if isinstance(expression, ast.Attribute) else ast.unparse(expression)


def classes() -> dict[str, tuple[str, str]]:
    """The base and the package of each exception class, by its name."""
    defined = {
        node.name: (name_of(node.bases[0]), package)
        for package in PACKAGES
        for node in nodes(package)
        if isinstance(node, ast.ClassDef) and node.bases
    }

    def is_exception(name: str) -> bool:
        if name in defined:
            return is_exception(defined[name][0])
        known = getattr(builtins, name, None)
        return isinstance(known, type) and issubclass(known, BaseException)

    return {name: where for name, where in defined.items() if is_exception(name)}


def drawn() -> Iterator[tuple[str, str]]:
    """Each error that the docstring draws, with the one it hangs on."""
    path = [BASE]
    for branch in BRANCH.finditer(neuroscribe.errors.__doc__ or ""):
        depth = len(branch["indent"]) // 4
        path[depth + 1 :] = [branch["name"]]
        yield branch["name"], path[depth]


def derived() -> dict[str, str]:
    """Each error that derives from the base, with the class it derives from."""
    bases = {name: base for name, (base, _) in classes().items()}

    def derives(name: str) -> bool:
        return name == BASE or (name in bases and derives(bases[name]))

    return {name: base for name, base in bases.items() if name != BASE and derives(name)}


@cache
def caught(package: str) -> frozenset[str]:
    """The names of the exceptions that a package catches, or suppresses, somewhere."""
    kinds = [
        node.type for node in nodes(package) if isinstance(node, ast.ExceptHandler) and node.type is not None
    ]
    for node in nodes(package):
        if isinstance(node, ast.Call) and name_of(node.func) == "suppress":
            kinds += node.args
    return frozenset(
        name_of(each) for kind in kinds for each in (kind.elts if isinstance(kind, ast.Tuple) else [kind])
    )


def test_the_drawn_tree_is_the_one_that_the_classes_form() -> None:
    assert dict(drawn()) == derived()
    assert {"CaptureError": "SubjectError", "RunFailedError": BASE}.items() <= derived().items()


def test_an_exception_outside_the_tree_is_caught_by_the_package_that_defines_it() -> None:
    inner = {name: package for name, (_, package) in classes().items() if name not in {BASE, *derived()}}
    assert inner.pop("Interrupted") == "neuroscribe", "stands for a kill, and only tests raise it"
    assert "SourceError" in inner
    for name, package in inner.items():
        assert name in caught(package), f"{name} of {package} is not in the tree of neuroscribe/errors.py"
