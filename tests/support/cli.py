"""The command ``qmi`` in this process, and the laboratory that it looks at."""

from __future__ import annotations

import importlib
import json
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qmi.config.loader import load_config
from qmi.core.context import QMI_Context
from qmi.tools.cli.main import main
from qmi.tools.cli.options import COMMON
from qmi.tools.cli.session import laboratory
from tests.support.ports import free_port


@dataclass
class Outcome:
    """How a command ended.

    Attributes:
        code: Its exit code.
        out: What it printed.
        err: What it said on standard error.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        assert self.out, self.err
        return json.loads(self.out)


class Cli:
    """Runs commands with one configuration, within this process."""

    def __init__(self, config: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.config = config
        self._capture = capture

    def __call__(self, *arguments: str) -> Outcome:
        self._capture.readouterr()
        # Far more time than anything here takes on a busy machine; what is to time out says --timeout itself.
        patient = () if "--timeout" in arguments or not arguments else ("--timeout", "30")
        code = main(["--config", str(self.config), *patient, *arguments])
        printed = self._capture.readouterr()
        return Outcome(code, printed.out, printed.err)


def write_lab(folder: Path, **contexts: Mapping[str, object]) -> Path:
    """Write a configuration for contexts that see only each other; by default one, lab, on any port."""
    path = folder / "qmi.conf"
    content = {
        "workgroup": "cli",
        "logging": {"console_loglevel": "CRITICAL", "logfile": None},
        "discovery": {"port": free_port(), "broadcast_addresses": ["127.255.255.255"], "timeout": 0.1},
        "contexts": contexts or {"lab": {"host": "127.0.0.1", "tcp_server_port": 0}},
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@contextmanager
def serving(config: Path, name: str = "lab") -> Iterator[QMI_Context]:
    """A context of the configuration that runs in this process."""
    with QMI_Context(name, load_config(str(config))) as context:
        yield context


@contextmanager
def shared_laboratory(config: Path, *modules: str, as_name: str = "") -> Iterator[None]:
    """Let the commands of some modules use one connection, which takes longer to make than a command to run."""
    options = Namespace(**{**COMMON, "config": str(config), "as_name": as_name})
    with pytest.MonkeyPatch.context() as patch, laboratory(options) as shared:
        for module in modules:
            patch.setattr(importlib.import_module(module), "laboratory", lambda *given, **options: nullcontext(shared))
        yield
