from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from qmi.config.places import config_dir, datastore_dir, log_dir, qmi_home_dir, resolve_file_name
from qmi.config.schema import CfgQmi
from qmi.errors import QMI_ConfigurationException, QMI_UsageException

NOW = datetime(2021, 11, 30, 14, 50, 55, 786000)
CONFIG = CfgQmi(config_file="/etc/lab/qmi.conf", qmi_home="/srv/qmi", datastore="/data")


def test_the_qmi_home_is_the_home_directory_unless_something_else_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert qmi_home_dir(CfgQmi()) == str(home)
    monkeypatch.setenv("QMI_HOME", "")
    assert qmi_home_dir(CfgQmi()) == str(home)
    monkeypatch.setenv("QMI_HOME", "~/lab")
    assert qmi_home_dir(CfgQmi()) == str(home / "lab")
    assert qmi_home_dir(CfgQmi(qmi_home="~/other")) == str(home / "other")


def test_logs_and_data_are_in_the_qmi_home_unless_something_else_is_said(home: Path) -> None:
    assert log_dir(CfgQmi(qmi_home="/srv/qmi")) == "/srv/qmi"
    assert log_dir(CfgQmi(qmi_home="/srv/qmi", log_dir="logs")) == "/srv/qmi/logs"
    assert log_dir(CfgQmi(log_dir="/var/log/../tmp")) == "/var/tmp"
    assert datastore_dir(CfgQmi()) == str(home)
    assert datastore_dir(CfgQmi(qmi_home="/srv/qmi", datastore="~/data")) == str(home / "data")


def test_the_configuration_directory_is_known_only_with_a_file() -> None:
    assert config_dir(CONFIG) == "/etc/lab"
    assert config_dir(CfgQmi()) is None


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("plain.txt", "plain.txt"),
        ("", ""),
        ("${qmi_home}/${context}.dat", "/srv/qmi/lab.dat"),
        ("${datastore}/${date}/x", "/data/2021-11-30/x"),
        ("${config_dir}/x-${datetime}", "/etc/lab/x-2021-11-30T14-50-55"),
        ("$$5", "$5"),
        ("$${context}", "${context}"),
        ("$$$$", "$$"),
    ],
)
def test_file_names_are_filled_in(name: str, resolved: str) -> None:
    assert resolve_file_name(name, CONFIG, "lab", NOW) == resolved


def test_a_filled_in_name_is_not_filled_in_again() -> None:
    assert resolve_file_name("${datastore}", CfgQmi(datastore="/a/${date}"), "lab", NOW) == "/a/${date}"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("${contxt}", "Unknown '${contxt}' in the file name '${contxt}': did you mean ${context}? (a dollar"),
        ("${Date}", "did you mean ${date}?"),
        ("${}", "expected one of ${context}, ${qmi_home}, ${datastore}, ${config_dir}, ${date}, ${datetime} (a"),
        ("cost: 5$", "Unknown '$' in the file name 'cost: 5$'"),
        ("$date", "Unknown '$' in the file name '$date'"),
        ("${date", "Unknown '$' in the file name '${date'"),
    ],
)
def test_anything_else_behind_a_dollar_sign_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(QMI_UsageException) as caught:
        resolve_file_name(name, CONFIG, "lab", NOW)
    assert complaint in str(caught.value)


def test_a_file_name_is_a_string() -> None:
    with pytest.raises(QMI_UsageException, match="A file name is a string; got 5 of type int"):
        resolve_file_name(5, CONFIG, "lab", NOW)  # type: ignore[arg-type]


def test_the_configuration_directory_cannot_be_filled_in_without_a_file() -> None:
    with pytest.raises(QMI_ConfigurationException, match="no configuration file was read"):
        resolve_file_name("${config_dir}", CfgQmi(), "lab", NOW)
