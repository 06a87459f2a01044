from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from qmi.config.schema import CfgContext, CfgInstrument, CfgQmi, CfgTask
from qmi.errors import QMI_ConfigurationException
from qmi.proc.program import Program, program_of


def of(context: CfgContext, config: CfgQmi | None = None, **environment: str) -> Program:
    return program_of("a", context, config or CfgQmi(), environment)


def test_a_program_is_a_module_with_arguments() -> None:
    program = of(CfgContext(program_module="p.q", program_args=["--x", "a b"]))
    assert program.arguments == (sys.executable, "-m", "p.q", "--x", "a b")
    assert program.command.endswith("-m p.q --x 'a b'")
    assert program.environment == {"PYTHONUNBUFFERED": "1"}


def test_a_program_gets_the_configuration_and_its_search_path(home: Path) -> None:
    context = CfgContext(program_module="p", python_path=os.pathsep.join(["~/lib", "", "/x"]))
    program = of(context, CfgQmi(config_file="~/qmi.conf"), PYTHONPATH="/y")
    assert program.environment["QMI_CONFIG"] == str(home / "qmi.conf")
    assert program.environment["PYTHONPATH"] == os.pathsep.join([str(home / "lib"), "/x", "/y"])
    assert of(context).environment["PYTHONPATH"] == os.pathsep.join([str(home / "lib"), "/x"])


def test_a_program_runs_in_its_virtual_environment(home: Path) -> None:
    python = home / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(mode=0o755)
    program = of(CfgContext(program_module="p", virtualenv_path="~/env"), PATH="/bin")
    assert program.arguments[0] == str(python)
    assert program.environment["VIRTUAL_ENV"] == str(home / "env")
    assert program.environment["PATH"] == os.pathsep.join([str(python.parent), "/bin"])


@pytest.mark.parametrize(("path", "found"), [("~/none", "there is no such directory"), ("~", "it has no executable")])
def test_a_virtual_environment_without_python_is_a_clear_error(home: Path, path: str, found: str) -> None:
    with pytest.raises(QMI_ConfigurationException, match=rf"contexts\.a\.virtualenv_path .*{found}.*python3 -m venv"):
        of(CfgContext(program_module="p", virtualenv_path=path))


def test_program_of_a_context_that_lists_instruments_is_serve() -> None:
    listed = {"dmm": CfgInstrument(driver="m:C")}
    assert of(CfgContext(instruments=listed)).arguments[1:] == ("-m", "qmi.tools.serve", "a")
    assert of(CfgContext(tasks={"t": CfgTask(task="m:C")})).arguments[1:] == ("-m", "qmi.tools.serve", "a")
    explicit = CfgContext(program_module="qmi.tools.serve", program_args=["--x"])
    assert of(explicit).arguments[1:] == ("-m", "qmi.tools.serve", "a", "--x")
    assert of(CfgContext(instruments=listed, program_module="lab.srv")).arguments[1:] == ("-m", "lab.srv")


def test_a_context_without_a_program_cannot_run() -> None:
    with pytest.raises(QMI_ConfigurationException, match=r"contexts\.a\.program_module is not set"):
        of(CfgContext())
