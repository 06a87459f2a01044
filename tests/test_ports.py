"""Ports of tests: two suites on one machine have different ones."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ports
from tests.support.ports import free_port

OTHER = """
import itertools, sys
from tests.support import ports
ports._NUMBERS = itertools.count(int(sys.argv[1]))
print(ports.free_port(), ports.free_port())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no locks of parts of a file there")
def test_port_that_nobody_listens_at_yet_is_given_to_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(ports._NUMBERS)
    monkeypatch.setattr(ports, "_NUMBERS", itertools.count(first))
    own = [free_port() for _ in range(3)]
    assert len(set(own)) == 3
    command = [sys.executable, "-c", OTHER, str(first)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60, check=True
    )
    others = set(map(int, done.stdout.split()))
    assert len(others) == 2
    assert not others & set(own)
