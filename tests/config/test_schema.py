from __future__ import annotations

import inspect
import re

import pytest
from msgspec import Struct

from qmi.config import schema
from qmi.config.schema import CfgContext, CfgInstrument, CfgLimits, CfgLogging, CfgQmi, CfgSecurity, CfgSite, CfgTask
from qmi.config.structure import checked, structure
from qmi.core import config_defs
from qmi.errors import QMI_ConfigurationException
from qmi.names import HostPort

CLASSES = [getattr(schema, name) for name in schema.__all__]


@pytest.mark.parametrize("section", [section for section in CLASSES if section not in (CfgInstrument, CfgTask)])
def test_every_setting_is_optional(section: type) -> None:
    assert section() == section()


@pytest.mark.parametrize(("section", "needed"), [(CfgInstrument, "driver"), (CfgTask, "task")])
def test_setting_that_is_needed_is_named(section: type, needed: str) -> None:
    with pytest.raises(QMI_ConfigurationException, match=f"{needed} is missing: expected a class as"):
        section()
    assert section(**{needed: "m:C"}) == section(**{needed: "m:C"})


@pytest.mark.parametrize("section", CLASSES)
def test_sections_show_where_users_import_them_from(section: type) -> None:
    assert section.__module__ == "qmi.core.config_defs"
    assert getattr(config_defs, section.__name__) is section
    assert section.__name__ in config_defs.__all__


@pytest.mark.parametrize("section", CLASSES)
def test_every_setting_is_described(section: type[Struct]) -> None:
    described = re.findall(r"^    (\w+): \S", inspect.getdoc(section) or "", re.MULTILINE)
    assert described == list(section.__struct_fields__)


def test_the_defaults_obey_the_rules() -> None:
    assert checked(CfgQmi()) == CfgQmi()


def test_known_defaults() -> None:
    assert CfgQmi().workgroup == "default"
    logging = CfgLogging()
    assert (logging.loglevel, logging.console_loglevel, logging.logfile) == ("INFO", "WARNING", "qmi.log")
    assert (logging.rate_limit, logging.burst_limit) == (None, 1)
    assert (logging.max_bytes, logging.backup_count) == (10 * 1024**3, 5)
    limits = CfgLimits()
    assert (limits.hello_bytes, limits.hello_timeout, limits.max_unproven_links) == (4096, 5.0, 64)
    assert (limits.max_body_bytes, limits.max_frame_bytes, limits.max_depth) == (4 * 1024**2, 1024**3, 64)
    assert (limits.max_unsent_bytes, limits.unsent_timeout) == (64 * 1024**2, 10.0)
    assert (limits.max_open_requests, limits.peer_timeout) == (10_000, 15.0)
    assert CfgQmi().discovery.port == 35999


def test_sections_are_made_by_keyword_and_may_be_changed() -> None:
    context = CfgContext(host="127.0.0.1", tcp_server_port=40001)
    context.enabled = True
    assert context == CfgContext(host="127.0.0.1", tcp_server_port=40001, enabled=True)


def test_configurations_share_no_lists() -> None:
    CfgQmi().contexts["a"] = CfgContext()
    CfgContext().connect_to_peers.append("a")
    assert CfgQmi().contexts == {}
    assert CfgContext().connect_to_peers == []


def test_a_setting_that_does_not_exist_cannot_be_set() -> None:
    with pytest.raises(AttributeError):
        CfgContext().prot = 1  # type: ignore[attr-defined]


def test_security_is_all_or_nothing() -> None:
    assert not CfgSecurity().enabled
    assert CfgSecurity(ca="a", certificate="b", key="c").enabled
    with pytest.raises(QMI_ConfigurationException, match="together, found only certificate and key"):
        CfgSecurity(certificate="b", key="c")


def test_site_is_there_if_it_has_servers() -> None:
    assert not CfgSite().enabled
    site = CfgSite(servers=["nats://a", "nats://[::1]:4223", "nats://c:63535"])
    assert site.enabled
    assert site.addresses == [HostPort("a", 4222), HostPort("::1", 4223), HostPort("c", 63535)]
    assert (site.buffer_bytes, site.history.per_signal, site.history.seconds) == (8388608, 1000, 3600.0)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"required": True}, "expected servers beside required"),
        (
            {"servers": ["nats://a", "nats://b"]},
            "expected one server, or three that stand in for each other, found two",
        ),
        ({"servers": ["nats://a", "nats://a:4222", "nats://b"]}, "expected each server once, found a:4222 twice"),
        ({"servers": ["nats://a:63536", "nats://b", "nats://c"]}, "ports up to 63535, .* found a:63536"),
    ],
)
def test_servers_of_a_site_that_make_no_sense_are_refused(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(QMI_ConfigurationException, match=complaint):
        CfgSite(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("port", [1, 65535])
def test_single_server_may_have_any_port(port: int) -> None:
    assert CfgSite(servers=[f"nats://a:{port}"]).addresses == [HostPort("a", port)]


@pytest.mark.parametrize(
    ("server", "complaint"),
    [
        ("10.0.0.5", "or 'nats://host:port', such as 'nats://10.0.0.5', found"),
        ("10.0.0.5:4222", "such as 'nats://10.0.0.5:4222', found"),
        ("tls://a:4222", "protected if there is a section security"),
        ("http://a", "'nats://host:port', found"),
        ("nats://", "found"),
        ("nats://a:0", "found"),
        ("nats://a:65536", "found"),
        ("nats://a:x", "found"),
        ("nats://:4222", "found"),
        ("nats://me:secret@a:4222", "found"),
        ("nats://a/b", "found"),
        ("nats://a b", "found"),
        ("nats://::1", "found"),
        ("nats://[::1", "found"),
        (4222, "found 4222"),
        (None, "found null"),
    ],
)
def test_server_of_a_site_that_is_no_address_is_refused(server: object, complaint: str) -> None:
    with pytest.raises(QMI_ConfigurationException) as caught:
        structure({"site": {"servers": [server]}})
    assert str(caught.value.faults[0]).startswith("site.servers[0]: expected the address of a server")
    assert complaint in str(caught.value)
