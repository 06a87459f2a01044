"""The package itself: its examples, its names, and what importing it costs."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest

import qmi.testing

EXAMPLES = [f"qmi.testing.{name}" for name in ("clock", "scripted", "stand_in", "task_bench", "virtual_time")]


@pytest.mark.parametrize("module", EXAMPLES)
def test_the_examples_work(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted > 0
    assert results.failed == 0


def test_public_names_are_found_when_they_are_asked_for() -> None:
    program = "import sys, qmi.testing as t; print('trio' in sys.modules, {n: getattr(t, n) for n in t.__all__} != {})"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (run.stdout, run.stderr) == ("False True\n", "")
    assert not hasattr(qmi.testing, "StandIn")
    assert set(qmi.testing.__all__) <= set(dir(qmi.testing))


def test_programs_do_not_pay_for_it() -> None:
    program = "import sys, qmi; sys.exit('qmi.testing' in sys.modules or 'trio.testing' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=30).returncode == 0
