from __future__ import annotations

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
    "qmi.net.protocol.frames",
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
