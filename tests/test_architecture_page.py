"""What docs/architecture.md says of packages, files and mutexes is so."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
MUTEX_ROW = re.compile(r"^\| `(\w[\w/]*\.py)` `(?:(\w+)\.)?(\w+)` \|", re.MULTILINE)
GATES = {"_gate", "_woken", "_once", "starting", "_gone", "lock", "_lock", "done"}
"""Locks that one waits on and another releases, or that several try to take once: they guard nothing."""
LOCKS = {"Lock", "RLock", "allocate_lock", "_allocate_lock"}


def test_files_that_the_page_names_exist() -> None:
    named = {name.rstrip("/") for name in re.findall(r"`(qmi/[\w/.]+)`", PAGE)}
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_packages_of_the_page_are_the_layers() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = (c["layers"] for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    table = PAGE[PAGE.index("| package |") : PAGE.index("Within them")]
    rows = [re.findall(r"`(\w+)`", row.replace(r"\|", "").split("|")[1]) for row in table.splitlines()[2:] if row]
    assert [name for row in rows for name in row] == [name for layer in layers for name in layer.split(" | ")]


def mutexes() -> set[tuple[str, str]]:
    found = set()
    for package in ("actors", "contexts", "net", "peers", "runtime", "site"):
        for path in (ROOT / "qmi" / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                value = getattr(node, "value", None)
                if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(value, ast.Call):
                    continue
                called = value.func
                if (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) not in LOCKS:
                    continue
                if isinstance(value.func, ast.Name) and value.func.id == "Lock":
                    continue  # the lock of an object, which is a rule
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
                    found.add((path.relative_to(ROOT / "qmi").as_posix(), name))
    return {(file, name) for file, name in found if name not in GATES}


def test_every_mutex_has_its_row() -> None:
    rows = {(file, name) for file, _, name in MUTEX_ROW.findall(PAGE)}
    assert rows == mutexes()


@pytest.mark.parametrize(("file", "owner", "name"), MUTEX_ROW.findall(PAGE))
def test_owner_of_a_mutex_is_named(file: str, owner: str, name: str) -> None:
    text = (ROOT / "qmi" / file).read_text("utf-8")
    assert not owner or re.search(rf"^class {owner}\b", text, re.MULTILINE), owner
    assert name in text
