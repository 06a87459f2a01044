"""Both type checkers understand a driver with parameters, and refuse values of the wrong type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("typed_driver.py")
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "basedpyright"])
def test_types_of_parameters_are_known(checker: str, tmp_path: Path) -> None:
    """The program says of each line that is wrong, and both say so if one of them is not."""
    pytest.importorskip(checker)
    command = [sys.executable, "-m", checker]
    if checker == "mypy":
        command += ["--strict", "--follow-imports=silent", "--config-file", "/dev/null", "--cache-dir", str(tmp_path)]
    run = subprocess.run([*command, str(PROGRAM)], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stdout + run.stderr
    assert PROGRAM.read_text().count("# type: ignore[") > 8
