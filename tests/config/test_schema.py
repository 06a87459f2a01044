from __future__ import annotations

import inspect
import re

import attrs
import pytest

from qmi.config import schema
from qmi.config.schema import CfgContext, CfgInstrument, CfgLimits, CfgLogging, CfgQmi, CfgSecurity, CfgTask
from qmi.config.structure import checked
from qmi.errors import QMI_ConfigurationException

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


@pytest.mark.parametrize("section", CLASSES)
def test_every_setting_is_described(section: type) -> None:
    described = re.findall(r"^    (\w+): \S", inspect.getdoc(section) or "", re.MULTILINE)
    assert described == [field.name for field in attrs.fields(section)]


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
