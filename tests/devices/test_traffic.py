from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import qmi
from qmi.core.config_defs import CfgLogging, CfgQmi
from qmi.core.transport import Traffic, read_traffic
from qmi.devices.traffic import LONGEST, log, quoted, traffic_logger, unquoted
from qmi.runtime.logs import setup_logging
from tests.support.device_ends import line_to


@given(st.binary())
def test_bytes_survive_being_quoted(data: bytes) -> None:
    text = quoted(data)
    assert text.isascii()
    assert text.isprintable()
    assert unquoted(text) == data


@pytest.mark.parametrize("data", [b'"', b"'", b"'\"\\", b"\\n", b"\n\r\t\0", b"caf\xe9", b"\x00q", b"$'%s{}"])
def test_quoted_bytes_are_readable(data: bytes) -> None:
    assert unquoted(quoted(data)) == data


@pytest.mark.parametrize("text", ["", '"', "1", '"a" + "b"', '"\\x"', '"\xe9"'])
def test_text_that_is_no_quoted_bytes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected bytes in double quotes"):
        unquoted(text)


def test_traffic_in_a_log_file_can_be_read_back(tmp_path: Path) -> None:
    settings = CfgLogging(loglevel="INFO", logfile="lab.log", loglevels={"qmi.traffic.meter": "DEBUG"})
    outlet = setup_logging(CfgQmi(logging=settings, log_dir=str(tmp_path)), "lab")
    try:
        with line_to("tcp") as line:
            line.transport.configure(name="meter")
            line.transport.write(b'MEAS? "A"\n')
            line.send(b'1.5|\xff read 3 "x"\n12345')
            line.transport.read_until(b"\n", 5.0)
            line.transport.read(5, 5.0)
            logging.getLogger("qmi.traffic.other").debug("write 1 %s", '"x"')
            logging.getLogger("lab").warning("read 1 %s", '"y"')
    finally:
        outlet.uninstall()
    found = list(read_traffic((tmp_path / "lab.log").read_text().splitlines()))
    assert [(one.instrument, one.direction, one.data, one.size) for one in found] == [
        ("meter", "write", b'MEAS? "A"\n', 10),
        ("meter", "read", b'1.5|\xff read 3 "x"\n', 17),
        ("meter", "read", b"12345", 5),
    ]
    assert all(one.time is not None and abs((datetime.now(UTC) - one.time).total_seconds()) < 60 for one in found)


def test_long_traffic_is_cut_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    logger = traffic_logger("scope")
    with caplog.at_level(logging.DEBUG, logger.name):
        log(logger, "read", b"x" * (LONGEST + 10))
    (found,) = read_traffic([f"{logger.name}: {caplog.records[0].getMessage()}"])
    assert found == Traffic("scope", "read", b"x" * LONGEST, LONGEST + 10, None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("meter", "meter"), ("a.b:c", "a_b_c"), ("tcp_127.0.0.1_5025", "tcp_127_0_0_1_5025"), ("", "unnamed")],
)
def test_name_of_the_logger_is_one_word(name: str, expected: str) -> None:
    assert traffic_logger(name).name == f"qmi.traffic.{expected}"


def test_transport_without_an_instrument_is_named_after_its_device() -> None:
    assert qmi.__version__
    with line_to("tcp") as line:
        assert line.transport._traffic.name.startswith("qmi.traffic.QMI_TcpTransport_127_0_0_1_")
