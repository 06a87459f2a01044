"""The section ``web`` of a context: which faults are found in it, and what becomes of its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from qmi.config.loader import load_config, parse_config
from qmi.config.schema import SERVE_MODULE
from qmi.errors import QMI_ConfigurationException, QMI_UsageException
from qmi.tools.certs import make_ca, make_certificate
from qmi.web.options import Options, configured_options

PAIR = {"certificate": "web.pem", "key": "web.key"}
OPEN = r"contexts\.lab\.web\.bind: expected a certificate and its key beside it \(or a section security\)"


@pytest.mark.parametrize(
    ("web", "fault"),
    [
        (True, r"contexts\.lab\.web: expected an object \{\.\.\.\}, found true"),
        ("127.0.0.1:8642", r"contexts\.lab\.web: expected an object"),
        ({"port": 1}, r"contexts\.lab\.web\.port: unknown key; known here are bind, name"),
        ({"certificat": "a"}, r'contexts\.lab\.web\.certificat: unknown key; did you mean "certificate"\?'),
        *(
            ({"bind": bind}, r"contexts\.lab\.web\.bind: expected an address 'host:port' such as '127\.0\.0\.1:8642'")
            for bind in (
                8642,
                "8642",
                "127.0.0.1",
                "127.0.0.1:",
                ":8642",
                "a:70000",
                "::1:80",
                "a b:1",
                "",
                None,
                "a:1\n",
            )
        ),
        *(
            ({"bind": bind}, OPEN)
            for bind in ("0.0.0.0:8642", "[::]:0", "192.0.2.1:80", "lab-pc:8642", "[fe80::1%eth0]:1", "localhost.de:1")
        ),
        (
            {"certificate": "a.pem"},
            r"contexts\.lab\.web: expected certificate and key together, found only certificate",
        ),
        ({"key": "a.key"}, r"contexts\.lab\.web: expected certificate and key together, found only key"),
        ({"name": "a b"}, r"contexts\.lab\.web\.name: expected a name of 1 to"),
        ({"public_reading": "yes"}, r"contexts\.lab\.web\.public_reading: expected true or false"),
        ({"users": ""}, r"contexts\.lab\.web\.users: expected the name of a file"),
        ({"dashboards": 1}, r"contexts\.lab\.web\.dashboards: expected the name of a file"),
    ],
    ids=repr,
)
def test_faults_of_pages_are_found_with_their_places(web: object, fault: str) -> None:
    with pytest.raises(QMI_ConfigurationException, match=fault):
        parse_config(json.dumps({"contexts": {"lab": {"web": web}}}))


@pytest.mark.parametrize(
    "bind", ["127.0.0.1:0", "127.8.0.1:1", "[::1]:8642", "localhost:1", "LOCALHOST:1", "localhost.:1", "[::1%lo]:1"]
)
def test_pages_for_this_computer_need_nothing_else(bind: str) -> None:
    web = parse_config(json.dumps({"contexts": {"lab": {"web": {"bind": bind}}}})).contexts["lab"].web
    assert web is not None
    assert web.bind == bind


@pytest.mark.parametrize("name", ["users", "certificate", "key", "dashboards"])
def test_file_name_that_cannot_be_filled_in_is_a_fault(tmp_path: Path, name: str) -> None:
    web: dict[str, object] = {**PAIR, name: "$QMI_NO_SUCH/x"}
    path = write(tmp_path, web)
    with pytest.raises(QMI_ConfigurationException, match=rf"contexts\.lab\.web\.{name}: Unknown '\$QMI_NO_SUCH'"):
        load_config(str(path))


def test_pages_are_a_program_by_themselves_and_of_no_other_program() -> None:
    content: dict[str, Any] = {"contexts": {"lab": {"web": {}}}}
    assert parse_config(json.dumps(content)).contexts["lab"].program == SERVE_MODULE
    content["contexts"]["lab"]["program_module"] = SERVE_MODULE
    assert parse_config(json.dumps(content)).contexts["lab"].program == SERVE_MODULE
    content["contexts"]["lab"]["program_module"] = "lab.server"
    with pytest.raises(QMI_ConfigurationException, match=r"contexts\.lab: expected no program_module beside web"):
        parse_config(json.dumps(content))
    content["contexts"]["lab"]["web"] = None
    assert parse_config(json.dumps(content)).contexts["lab"].program == "lab.server"


# What a server makes of it


def write(folder: Path, web: Mapping[str, object] | None, **more: object) -> Path:
    path = folder / "conf" / "qmi.conf"
    path.parent.mkdir(exist_ok=True)
    home = str(folder / "home")
    path.write_text(json.dumps({"qmi_home": home, "contexts": {"lab": {} if web is None else {"web": web}}, **more}))
    return path


def options(folder: Path, web: Mapping[str, object] | None, **more: object) -> Options:
    return configured_options(load_config(str(write(folder, web, **more))), "lab")


def test_pages_have_files_beside_the_configuration_and_in_the_home_directory(tmp_path: Path) -> None:
    home, conf = tmp_path / "home", tmp_path / "conf"
    assert options(tmp_path, {}) == Options(
        name="lab_web", token_file=str(home / "lab_web.token"), dashboards=str(home / "dashboards")
    )
    settings = {
        **PAIR,
        "bind": "0.0.0.0:1",
        "users": "${context}.users",
        "dashboards": "boards",
        "public_reading": True,
    }
    assert options(tmp_path, {**settings, "name": "pages"}) == Options(
        bind="0.0.0.0:1", name="pages", users=str(conf / "lab.users"), certificate=str(conf / "web.pem"),
        key=str(conf / "web.key"), public_reading=True, dashboards=str(home / "boards"),
    )  # fmt: skip
    full = options(tmp_path, {"users": "/etc/users", "dashboards": "/srv/boards"})
    assert (full.users, full.dashboards) == ("/etc/users", "/srv/boards")


def test_context_without_pages_has_no_server(tmp_path: Path) -> None:
    with pytest.raises(QMI_UsageException, match=r"contexts\.lab has no section web in .*qmi\.conf"):
        options(tmp_path, None)


def test_certificate_of_the_context_is_taken_where_others_can_connect(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    make_ca(conf)
    make_certificate(conf, "lab")
    make_certificate(conf, "lab_web")
    security = {"ca": "ca.pem", "certificate": "${context}.pem", "key": "${context}.key"}
    found = options(tmp_path, {"bind": "0.0.0.0:1"}, security=security)
    assert (found.certificate, found.key) == (str(conf / "lab.pem"), str(conf / "lab.key"))
    assert options(tmp_path, {}, security=security).certificate == ""
    own = options(tmp_path, {"bind": "0.0.0.0:1", **PAIR}, security=security)
    assert (own.certificate, own.key) == (str(conf / "web.pem"), str(conf / "web.key"))


def test_server_of_pages_needs_a_certificate_of_its_own(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    make_ca(conf)
    make_certificate(conf, "lab")
    security = {"ca": "ca.pem", "certificate": "${context}.pem", "key": "${context}.key"}
    missing = (
        r"is a context of its own, 'lab_web', and needs a certificate as others do: security\.certificate: the file "
        r".*lab_web\.pem does not exist, nor .*any\.pem, .*; security\.key: .* 'qmi certs cert lab_web' makes one"
    )
    with pytest.raises(QMI_ConfigurationException, match=missing):
        options(tmp_path, {}, security=security)
    make_certificate(conf, "lab_web")
    assert options(tmp_path, {}, security=security).name == "lab_web"


@pytest.mark.parametrize(
    ("contexts", "fault"),
    [
        ({"lab": {"web": {"name": "lab"}}}, r"contexts\.lab\.web\.name: .* a server, .*, found 'lab'"),
        ({"lab": {"web": {"name": "b"}}, "b": {"tcp_server_port": 0}}, r"contexts\.lab\.web\.name: .*, found 'b'"),
        ({"lab": {"web": {}}, "lab_web": {"tcp_server_port": 1}}, r"contexts\.lab\.web\.name: .*, found 'lab_web'"),
        ({"a" * 60: {"web": {}}}, r"contexts\.a+\.web\.name: expected one, since 'a+_web' is longer than 63 letters"),
        ({"lab": {"web": {"name": "b"}}, "b": {}}, None),
        ({"lab": {"web": {"name": "pages"}}, "bench": {"web": {"name": "pages"}}}, None),
        ({"a" * 59: {"web": {}}}, None),
        ({"a" * 63: {"web": {"name": "b" * 63}}}, None),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value),
)
def test_pages_are_served_by_a_context_that_can_connect_to_all(contexts: dict[str, object], fault: str | None) -> None:
    text = json.dumps({"contexts": contexts})
    if fault is None:
        assert parse_config(text).contexts.keys() == contexts.keys()
    else:
        with pytest.raises(QMI_ConfigurationException, match=fault):
            parse_config(text)
