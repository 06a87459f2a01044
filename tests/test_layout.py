from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
# The modules that are marked "P" in DESIGN.md, and those that were split off from them.
PURE = {
    "qmi.errors",
    "qmi.names",
    "qmi.messages",
    "qmi.config.validators",
    "qmi.config.schema",
    "qmi.config.structure",
    "qmi.config.parser",
    "qmi.actors.fair_queue",
    "qmi.actors.lock_rules",
    "qmi.actors.tasks.schedule",
    "qmi.actors.interface",
    "qmi.actors.pubsub.subscriptions",
    "qmi.net.protocol.packets",
    "qmi.net.io.link_quota",
    "qmi.net.codec",
    "qmi.net.protocol.handshake",
    "qmi.net.protocol.connection",
    "qmi.net.discovery.packets",
    "qmi.proc.helper_protocol",
    "qmi.proc.order",
    "qmi.proc.control_protocol",
    "qmi.proc.selection",
    "qmi.proc.status",
}


def contract(name: str) -> dict[str, Any]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (found,) = (c for c in settings["tool"]["importlinter"]["contracts"] if c["name"].startswith(name))
    return dict(found)


def exists(module: str) -> bool:
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def test_every_pure_module_is_watched() -> None:
    watched = set(contract("Rules are pure")["source_modules"])
    assert {module for module in PURE if exists(module)} <= watched


def test_drivers_are_kept_from_every_room_but_the_public_one() -> None:
    public = {"qmi.core", "qmi.instruments", "qmi._version"}
    rooms = {f"qmi.{path.stem}" for path in (ROOT / "qmi").iterdir() if not path.name.startswith("__")}
    rooms = {room for room in rooms if exists(room)}
    assert rooms - public <= set(contract("Drivers see only")["forbidden_modules"])


def test_imports_keep_to_the_layers() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    if not lint.exists():
        pytest.skip("import-linter is not installed beside this Python")
    run = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert run.returncode == 0, run.stdout + run.stderr


def imported_modules(path: Path) -> set[str]:
    """The modules of the tests that a file imports, those of the programs in its texts included."""
    text = path.read_text()
    nodes = list(ast.walk(ast.parse(text)))
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= set(re.findall(r"(?:from|import) (tests\.[\w.]+)", text))
    return {module for module in modules if module.partition(".")[0] == "tests"}


def test_test_helpers_live_in_support() -> None:
    """The programs of ``make faults``, ``make fuzz`` and ``make soak`` are packages of their own, with their tests."""
    wrong = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        package = ".".join(path.relative_to(ROOT).parent.parts)
        allowed = ["tests.support"] + [package] * (path.parent / "__main__.py").exists()
        found = {
            module
            for module in imported_modules(path)
            if not module.startswith(tuple(allowed)) or module.rpartition(".")[2].startswith(("test_", "conftest"))
        }
        if found:
            wrong[str(path.relative_to(ROOT))] = found
    assert wrong == {}, "helpers of tests live in tests/support"


POLLING = {"time.sleep", "trio.sleep", "asyncio.sleep", "os.sched_yield"}
PERIODIC = {
    # What it does again and again is a load, a user's program or a retry, not a wait.
    "tests/faults/test_link_faults.py",
    "tests/soak/load_async.py",
    "tests/soak/test_restart.py",
    "tests/support/chaos.py",
    "tests/support/managed_programs/heater.py",
    "tests/support/managed_programs/quiet.py",
    "tests/support/managed_programs/talker.py",
}


def test_tests_do_not_poll() -> None:
    """A loop that sleeps waits for something: that is what ``tests/support/waiting.py`` and ``outside.py`` are for."""
    found = set()
    for path in sorted((ROOT / "tests").rglob("*.py")):
        loops = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, (ast.While, ast.For))]
        calls = {ast.unparse(node.func) for loop in loops for node in ast.walk(loop) if isinstance(node, ast.Call)}
        if calls & POLLING:
            found.add(str(path.relative_to(ROOT)))
    assert found - PERIODIC == set(), "wait with wait_until() or until() of tests.support.waiting"
