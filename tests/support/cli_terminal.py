"""The command ``qmi`` in a pseudo-terminal of some width, and what stands on its screen."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pexpect

from tests.support.programs import ROOT

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][0-9A-B]")


def spawn(config: Path, *arguments: str, width: int = 200, term: str = "xterm-256color") -> pexpect.spawn[str]:
    """Type ``qmi ...`` at a terminal."""
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    return pexpect.spawn(
        sys.executable, ["-m", "qmi", "--config", str(config), *arguments], cwd=str(ROOT), encoding="utf-8",
        timeout=30, echo=False, dimensions=(40, width), env={**environment, "TERM": term},
    )  # fmt: skip


def plain(text: str | None) -> str:
    """What was printed, without colours and movements."""
    return _CONTROL.sub("", text or "").replace("\r", "")


def ended(terminal: pexpect.spawn[str]) -> tuple[int | None, str]:
    """Wait for its end; the exit code and what was printed since it was last looked at."""
    terminal.expect(pexpect.EOF)
    printed = plain(terminal.before)
    terminal.close()
    status: int | None = terminal.exitstatus
    return status, printed
