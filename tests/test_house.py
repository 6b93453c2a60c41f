"""The rules of the house that can be counted: sizes, docstrings, no module-level state, no work on import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES, FUNCTION_LINES, SCREEN_LINES, PARAMETERS = 400, 60, 120, 8
ROOMS = ("lora_studio", "pretrain", "benchmarks", "scripts")
MIGRATIONS = ROOT / "lora_studio" / "store" / "migrations" / "versions"


def sources() -> list[Path]:
    """Every module of the product, tests left out."""
    found = [ROOT / "app.py"]
    for room in ROOMS:
        found += sorted((ROOT / room).rglob("*.py"))
    return found


def trees() -> Iterator[tuple[Path, ast.Module]]:
    """Each module with its syntax tree."""
    for path in sources():
        yield path, ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Each function of each module, nested ones and methods too."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield path, node


def place(path: Path, node: ast.AST | None = None) -> str:
    """Where something stands, for a message."""
    line = f":{node.lineno}" if isinstance(node, (ast.stmt, ast.expr, ast.ExceptHandler)) else ""
    return f"{path.relative_to(ROOT)}{line}"


def test_there_is_something_to_count() -> None:
    assert len(sources()) > 20
    assert sum(1 for _ in functions()) > 100


def test_no_file_is_too_long() -> None:
    lengths = {place(path): path.read_text(encoding="utf-8").count("\n") for path in sources()}
    assert {name: n for name, n in lengths.items() if n > FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    long = {}
    for path, node in functions():
        screens = path.relative_to(ROOT).parts[:2] == ("lora_studio", "ui")
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > (SCREEN_LINES if screens else FUNCTION_LINES) and MIGRATIONS not in path.parents:
            long[f"{place(path, node)} {node.name}"] = lines
    assert long == {}


def test_no_function_takes_too_much() -> None:
    wide = {}
    for path, node in functions():
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        if count > PARAMETERS:
            wide[f"{place(path, node)} {node.name}"] = count
    assert wide == {}


def test_every_module_says_what_it_does() -> None:
    assert [place(path) for path, tree in trees() if tree.body and not ast.get_docstring(tree)] == []


def test_public_functions_and_classes_say_what_they_do() -> None:
    bare = []
    for path, tree in trees():
        for node in tree.body:
            public = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name[0] != "_"
            if public and MIGRATIONS not in path.parents and not ast.get_docstring(node):  # type: ignore[arg-type]
                bare.append(place(path, node))
    assert bare == []


def test_no_module_level_state() -> None:
    """A name that a function may rebind (`global`), or an empty container waiting at module level to be filled."""
    found = []
    for path, tree in trees():
        found += [place(path, node) for node in ast.walk(tree) if isinstance(node, ast.Global)]
        for node in tree.body:
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and _empty_container(node.value):
                found.append(place(path, node))
    assert found == []


def _empty_container(value: ast.expr | None) -> bool:
    if isinstance(value, (ast.List, ast.Set)):
        return not value.elts
    if isinstance(value, ast.Dict):
        return not value.keys
    return isinstance(value, ast.Call) and ast.unparse(value.func) in ("list", "dict", "set", "defaultdict", "deque")


def test_no_work_on_import() -> None:
    """At module level stand imports, definitions, constants and the guard of `__main__`: no loop, no bare call."""
    found = []
    for path, tree in trees():
        if path.name == "env.py" and "migrations" in path.parts:
            continue  # Alembic runs this file as a script
        for node in tree.body:
            called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            if called or isinstance(node, (ast.For, ast.While, ast.With)):
                found.append(place(path, node))
    assert found == []


def test_broad_except_only_at_the_job_border() -> None:
    found = []
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                kind = "" if node.type is None else ast.unparse(node.type)
                if kind in ("", "Exception") and path.relative_to(ROOT).parts[:2] != ("lora_studio", "engine"):
                    found.append(place(path, node))
    assert found == []


def test_nothing_is_left_for_later() -> None:
    words = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
    found = []
    for path in [*sources(), *sorted((ROOT / "tests").rglob("*.py"))]:
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [f"{place(path)}:{number}" for number, line in enumerate(lines, 1) if words.search(line)]
    assert found == []


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda p: str(p.name))
def test_every_test_asserts(path: Path) -> None:
    """A test function holds an assert, `pytest.raises`, or calls a helper whose name says that it checks."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    empty = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test")
        and not _asserts(node)
    ]
    assert empty == []


def _asserts(node: ast.AST) -> bool:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Assert):
            return True
        if isinstance(inner, ast.Call) and re.search(r"raises|warns|assert|expect|check", ast.unparse(inner.func)):
            return True
    return False
