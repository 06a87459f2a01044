from __future__ import annotations

import os
import pwd
from datetime import datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

import qmi
from qmi.config.loader import completed, load_config
from qmi.config.paths import Places, config_dir, datastore_dir, log_dir, qmi_home_dir, resolve_file_name
from qmi.config.schema import CfgContext, CfgProcessManagement, CfgQmi, CfgSite
from qmi.core.context import QMI_Context
from qmi.errors import QMI_ConfigurationException, QMI_UsageException
from qmi.proc.output import latest_output_dir, make_output_dir
from qmi.proc.program import program_of
from qmi.tools.certs import make_ca, make_certificate

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
    with pytest.raises(QMI_ConfigurationException, match='No directory for data is configured; write "datastore"'):
        datastore_dir(CfgQmi())
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


def test_the_datastore_is_filled_in_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CfgQmi(datastore="/a/${date}/$$x")
    assert resolve_file_name("${datastore}", config, "lab", NOW) == "/a/2021-11-30/$x"
    monkeypatch.setenv("LAB_DATA", "/b/${date}")
    assert resolve_file_name("$LAB_DATA/c", config, "lab", NOW) == "/b/${date}/c"


@pytest.mark.parametrize("form", ["${{{}}}", "${}"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("context", "lab"),
        ("qmi_home", "/srv/qmi"),
        ("datastore", "/data"),
        ("config_dir", "/etc/lab"),
        ("date", "2021-11-30"),
        ("datetime", "2021-11-30T14-50-55"),
        ("LAB_ROOM", "b 12"),
    ],
)
def test_each_placeholder_is_filled_in_in_every_file_name(
    form: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAB_ROOM", "b 12")
    text = "/x/" + form.format(variable)
    full = "/x/" + value
    assert resolve_file_name(text, CONFIG, "lab", NOW) == full
    assert log_dir(replace(CONFIG, log_dir=text), "lab", NOW) == os.path.normpath(full)
    if variable != "datastore":
        assert datastore_dir(replace(CONFIG, datastore=text), "lab", NOW) == os.path.normpath(full)
    if variable != "qmi_home":
        assert qmi_home_dir(replace(CONFIG, qmi_home=text), "lab") == os.path.normpath(full) or "date" in variable
    output = replace(CONFIG, process_management=CfgProcessManagement(output_dir=text))
    assert Places(output, "lab", NOW).output_dir() == os.path.normpath(full)
    venv = tmp_path / value.strip("/").replace("/", "-") / "bin"
    venv.mkdir(parents=True)
    (venv / "python").symlink_to("/bin/sh")
    if variable in ("context", "LAB_ROOM"):
        context = CfgContext(
            program_module="x",
            virtualenv_path=f"{tmp_path}/{form.format(variable)}",
            python_path=f"/a{os.pathsep}{text}",
        )
        program = program_of("lab", context, CONFIG, {})
        assert program.arguments[0] == str(venv / "python")
        assert program.environment["PYTHONPATH"] == f"/a{os.pathsep}{full}"


@pytest.mark.parametrize("name", ["~", "~/data", "$HOME/data", "${HOME}", "$HOME"])
def test_home_directories_are_filled_in(name: str, home: Path) -> None:
    assert resolve_file_name(name, CONFIG, "lab", NOW) == str(home) + name.partition("/")[1] + name.partition("/")[2]
    user = pwd.getpwuid(os.getuid())
    assert resolve_file_name(f"~{user.pw_name}/x", CONFIG, "lab", NOW) == f"{user.pw_dir}/x"
    assert resolve_file_name("a~b", CONFIG, "lab", NOW) == "a~b"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("${contxt}", "Unknown '${contxt}' in the file name '${contxt}': did you mean ${context}? expected one of"),
        ("${Date}", "did you mean ${date}?"),
        ("${}", "expected one of ${context}, ${qmi_home}, ${datastore}, ${config_dir}, ${date}, ${datetime}, or an"),
        ("cost: 5$", "Unknown '$' in the file name 'cost: 5$'"),
        ("$dat", "Unknown '$dat' in the file name '$dat': did you mean ${date}?"),
        ("$NO_SUCH_VARIABLE", "an environment variable that is set, such as $HOME"),
        ("${date", "Unknown '$' in the file name '${date'"),
        ("~no-such-user/x", "'~no-such-user' has no home directory here"),
    ],
)
def test_place_with_anything_else_behind_a_dollar_sign_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(QMI_UsageException) as caught:
        resolve_file_name(name, CONFIG, "lab", NOW)
    assert complaint in str(caught.value)


def test_a_program_with_a_wrong_file_name_in_its_configuration_is_refused_before_it_starts() -> None:
    with pytest.raises(QMI_ConfigurationException, match=r"log_dir: Unknown '\$\{nope\}'"):
        QMI_Context("lab", CfgQmi(log_dir="${nope}"))


def test_a_running_context_tells_its_directories_and_writes_its_log_there(home: Path) -> None:
    (home / "qmi.conf").write_text(
        '{"qmi_home": "~/qmi-${context}", "log_dir": "${qmi_home}/log", "datastore": "${config_dir}/data/${context}", '
        '"logging": {"logfile": "${context}/%(context)s.log"}}'
    )
    with qmi.start("lab") as context:
        assert context.get_qmi_home_dir() == f"{home}/qmi-lab"
        assert context.get_log_dir() == f"{home}/qmi-lab/log"
        assert context.get_datastore_dir() == f"{home}/data/lab"
        assert context.resolve_file_name("${datastore}/x") == f"{home}/data/lab/x"
    assert (home / "qmi-lab/log/lab/lab.log").exists()


def test_certificates_may_be_named_after_the_context(home: Path) -> None:
    make_ca(home / "certs")
    make_certificate(home / "certs", "lab", workgroup="default")
    (home / "qmi.conf").write_text(
        '{"security": {"ca": "certs/ca.pem", "certificate": "certs/${context}.pem", "key": "~/certs/$context.key"}}'
    )
    config = load_config()
    assert config.security.ca == f"{home}/certs/ca.pem"
    with qmi.start("lab") as context:
        assert context.get_config().security.certificate == f"{home}/certs/lab.pem"
        assert context.get_config().security.key == f"{home}/certs/lab.key"
    with pytest.raises(QMI_ConfigurationException) as caught:
        qmi.start("other")
    certificate, key = caught.value.faults
    assert certificate == (
        f"security.certificate: the file {home}/certs/other.pem does not exist, nor {home}/certs/any.pem, which is for "
        "every name ('qmi certs cert \"*\"' makes it)"
    )
    assert key == f"security.key: the file {home}/certs/other.key does not exist"


@pytest.mark.parametrize(
    ("present", "taken"),
    [
        ([], "any"),
        (["other.pem", "other.key"], "other"),
        (["other.pem"], None),  # half a pair is a mistake, which is told
        (["other.key"], None),
    ],
)
def test_name_without_a_certificate_has_the_one_for_every_name(
    home: Path, present: list[str], taken: str | None
) -> None:
    certs = home / "certs"
    make_ca(certs)
    make_certificate(certs, "*", workgroup="default")
    for name in present:
        (certs / name).touch()
    (home / "qmi.conf").write_text(
        '{"security": {"ca": "certs/ca.pem", "certificate": "certs/${context}.pem", "key": "certs/${context}.key"}}'
    )
    config = load_config()
    if taken is None:
        with pytest.raises(QMI_ConfigurationException, match=r"the file .*/other\.(pem|key) does not exist"):
            completed(config, "other")
        return
    found = completed(config, "other").security
    assert (found.certificate, found.key) == (f"{certs}/{taken}.pem", f"{certs}/{taken}.key")


def test_programs_with_the_certificate_for_every_name_know_each_other(home: Path) -> None:
    make_ca(home / "certs")
    make_certificate(home / "certs", "lab", workgroup="default")
    make_certificate(home / "certs", "*", workgroup="default")
    (home / "qmi.conf").write_text(
        '{"contexts": {"lab": {"host": "127.0.0.1", "tcp_server_port": 0}}, "security": {"ca": "certs/ca.pem", '
        '"certificate": "certs/${context}.pem", "key": "certs/${context}.key"}}'
    )
    with QMI_Context("lab", load_config()) as lab, QMI_Context("notebook", load_config()) as notebook:
        notebook.connect_to_peer("lab", f"127.0.0.1:{lab.get_tcp_server_port()}")
        assert notebook.has_peer_context("lab")


def test_output_directories_with_a_date_are_made_and_found_again(home: Path) -> None:
    config = CfgQmi(process_management=CfgProcessManagement(output_dir="out-${date}/${context}"))
    assert make_output_dir(config, "lab").is_dir()
    old = home / "out-2001-01-01" / "lab"
    old.mkdir(parents=True)
    (old / "lab_20010101_000000.out").write_text("old")
    assert latest_output_dir(config, "lab") == old
    new = make_output_dir(config, "lab") / "lab_20250101_000000.out"
    new.write_text("new")
    assert latest_output_dir(config, "lab") == new.parent
    assert latest_output_dir(config, "other").name == "other"


def test_a_file_name_is_a_string() -> None:
    with pytest.raises(QMI_UsageException, match="A file name is a string; got 5 of type int"):
        resolve_file_name(5, CONFIG, "lab", NOW)  # type: ignore[arg-type]


def test_the_configuration_directory_cannot_be_filled_in_without_a_file() -> None:
    with pytest.raises(QMI_ConfigurationException, match="no configuration file was read"):
        resolve_file_name("${config_dir}", CfgQmi(), "lab", NOW)


def test_an_unknown_name_in_a_file_name_is_a_key_error_with_a_readable_text() -> None:
    with pytest.raises(KeyError) as caught:
        resolve_file_name("${nope}", CONFIG, "lab", NOW)
    assert str(caught.value).startswith("Unknown '${nope}' in the file name '${nope}': expected")


def test_a_name_below_a_directory_for_data_that_is_not_configured_is_a_fault() -> None:
    with pytest.raises(QMI_ConfigurationException, match="No directory for data is configured"):
        resolve_file_name("${datastore}/x", CfgQmi(), "lab", NOW)


def test_data_of_the_server_of_a_site_is_in_the_qmi_home() -> None:
    assert Places(CONFIG).site_dir() == "/srv/qmi/site"
    other = replace(CONFIG, site=CfgSite(store_dir="${datastore}/nats"))
    assert Places(other).site_dir() == "/data/nats"
