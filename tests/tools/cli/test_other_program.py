"""Commands with another program, whose driver this one does not have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import Cli, shared_laboratory, write_lab
from tests.support.programs import Program

OTHER = """
import sys
sys.path.insert(0, {folder!r})
from qmi.config.loader import load_config
from qmi.core.context import QMI_Context
from my_supply import MySupply
context = QMI_Context("lab", load_config({config!r}))
context.start()
psu = context.make_instrument("psu", MySupply)
"""
DRIVER = """
from __future__ import annotations
from enum import Enum
from qmi.core.driver import QMI_Instrument, parameter, rpc_method

class Mode(Enum):
    VOLTAGE = "VOLT"
    CURRENT = "CURR"

Name = str

class MySupply(QMI_Instrument):
    kept = Mode.VOLTAGE

    @parameter()
    def mode(self) -> Mode:
        return self.kept

    @mode.setter
    def set_mode(self, value: Mode) -> None:
        self.kept = value

    @rpc_method
    def choose(self, mode: Mode) -> str:
        return f"{type(mode).__name__}.{mode.name}"

    @rpc_method
    def greet(self, name: Name) -> str:
        return f"hello {name}"
"""


@pytest.mark.parametrize("operators", [None, ["boss"]])
def test_driver_that_is_not_installed_here_is_used_by_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], operators: list[str] | None
) -> None:
    own: dict[str, object] = {"host": "127.0.0.1", "tcp_server_port": 0}
    config = write_lab(tmp_path, lab=own if operators is None else {**own, "operators": operators})
    (tmp_path / "my_supply.py").write_text(DRIVER)
    cli = Cli(config, capsys)
    options = [] if operators is None else ["--as", "boss"]
    with Program() as program:
        program.run(OTHER.format(folder=str(tmp_path), config=str(config)))
        if operators is not None:
            refused = cli("set", "lab.psu.mode", "CURRENT")
            assert refused.code == 1
            assert "is a guest there (contexts.lab.operators does not name it)" in refused.err
            assert refused.err.count("\n") == 1
        assert cli("get", "lab.psu.mode").out == "VOLTAGE\n"
        assert cli("set", "lab.psu.mode", "CURRENT", *options).err == ""
        assert json.loads(cli("get", "lab.psu.mode", "--json").out) == {
            "lab.psu.mode": {"value": "CURR", "member": "CURRENT"}
        }
        with shared_laboratory(config, "qmi.tools.cli.parameters", "qmi.tools.cli.call", as_name="boss"):
            assert cli("set", "lab.psu.mode", "VOLT").code == 0
            wrong = cli("set", "lab.psu.mode", "POWER")
            assert (wrong.code, wrong.err.count("\n")) == (2, 1)
            assert "must be Mode.VOLTAGE or Mode.CURRENT" in wrong.err
            assert cli("call", "lab.psu.choose", "CURRENT").out == "Mode.CURRENT\n"
            assert cli("call", "lab.psu.greet", "ann").out == "hello ann\n"
