from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from qmi.config.schema import CfgContext, CfgQmi
from qmi.errors import QMI_RuntimeException
from qmi.proc.selection import Target
from qmi.proc.systemd import unit_name, unit_text, write_units

CONFIG = CfgQmi(config_file='/etc/my 100% "qmi".conf')
TARGETS = [
    Target("srv", CfgContext(program_module="lab.server"), True),
    Target(
        "gui(2)",
        CfgContext(
            program_module="lab.gui",
            program_args=["--title", '100% of $HOME \\ "x"\n', "é"],
            connect_to_peers=["srv", "elsewhere"],
            python_path="/opt/lab",
        ),
        True,
    ),
]


@pytest.mark.parametrize(
    ("name", "unit"),
    [("srv", "qmi-srv.service"), ("a_B-1", "qmi-a_B\\x2d1.service"), ("g(2)", "qmi-g\\x282\\x29.service")],
)
def test_a_context_has_a_unit_name_that_systemd_allows(name: str, unit: str) -> None:
    assert unit_name(name) == unit


def test_a_unit_has_the_program_its_environment_and_its_peers(tmp_path: Path) -> None:
    lines = unit_text(TARGETS[1], TARGETS, CONFIG, {}, tmp_path).splitlines()
    [start] = [line for line in lines if line.startswith("ExecStart=")]
    assert start.endswith('"-m" "lab.gui" "--title" "100%% of $$HOME \\\\ \\"x\\"\\x0a" "é"')
    assert 'Environment="QMI_CONFIG=/etc/my 100%% \\"qmi\\".conf"' in lines
    assert 'Environment="PYTHONPATH=/opt/lab"' in lines
    assert "After=qmi-srv.service" in lines
    assert "Wants=qmi-srv.service" in lines
    assert "Restart=on-failure" in lines
    assert not any(
        line.startswith("After=") for line in unit_text(TARGETS[0], TARGETS, CONFIG, {}, tmp_path).splitlines()
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    config = CfgQmi(config_file=str(tmp_path / "qmi.conf"))
    units = {unit_name(at.name): unit_text(at, TARGETS, config, {}, tmp_path) for at in TARGETS}
    paths = write_units(units, tmp_path / "units")
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "SYSTEMD_LOG_LEVEL": "warning"}
    found = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", *map(str, paths)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "qmi-" not in found.stderr + found.stdout
    assert found.returncode == 0, found.stderr


def test_a_unit_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(QMI_RuntimeException, match=r"Cannot write the unit .*file/a\.service"):
        write_units({"a.service": ""}, tmp_path / "file")
