"""What comes from elsewhere cannot write to a terminal, nor into a log as if it were a message of its own."""

from __future__ import annotations

import contextlib
import io
import logging
import pydoc
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Interface, Kind, Method
from qmi.actors.interface_plain import interface_from_plain, interface_to_plain
from qmi.actors.proxy import make_proxy
from qmi.config.schema import CfgQmi
from qmi.config.validators import printable, printable_lines
from qmi.contexts.tables import show_table
from qmi.errors import QMI_InstrumentException
from qmi.names import Address
from qmi.net.codec.exceptions import rebuild_exception
from qmi.net.codec.unknown import NamedKind, UnknownTypeValue
from qmi.peers.references import References
from qmi.proc.helper_protocol import clean
from qmi.proc.output import PrintableText
from qmi.proc.render import PlainReporter
from qmi.proc.status import State, Status
from qmi.runtime.logs import setup_logging

EVIL = {
    "escape sequence": "\x1b[2J\x1b]0;title\x07",
    "carriage return": "harmless\rHARMFUL",
    "backspace": "abc\b\b\b",
    "bell and null": "\a\0",
    "C1 control": "\x9b31m",
    "right to left": "abc\u202edcba\u202c",
    "isolate": "\u2066x\u2069",
    "zero width": "a\u200bb\ufeff",
    "line separator": "a\u2028b\u2029c\x85d",
    "vertical tab and form feed": "a\vb\fc",
    "lone surrogate": "\ud800",
    "tag characters": "\U000e0041",
}
FORGED = "harmless\n2026-01-01 00:00:00.000 | INFO     | qmi.core.context       | Context srv was locked by nobody"


def interface(text: str) -> Interface:
    method = Method("measure", f"Doc {text}", (), f"Returns{text}", Kind.PLAIN, False)
    made = Interface(f"lab.Cls{text}", doc=f"Class {text}", methods=MappingProxyType({"measure": method}))
    return interface_from_plain(interface_to_plain(made))


def shown_help(text: str) -> str:
    proxy = make_proxy(None, Address("srv", "dev"), interface(text))  # type: ignore[arg-type]
    return pydoc.plain(pydoc.render_doc(type(proxy)))


def shown_table(text: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        show_table(("address", "type"), [("srv.dev", text)])
    return out.getvalue()


def of_future(text: str) -> str:
    future: QMI_RpcFuture[None] = QMI_RpcFuture("srv.dev.get()")
    future.fail(ValueError(text))
    return repr(future)


def remote(name: tuple[str, str], text: str) -> str:
    error = rebuild_exception(name, text, f"Traceback\n  {text}\n", [text], {"__notes__": [f"note {text}"]})
    return "".join(traceback.format_exception(error))


def reported(text: str) -> str:
    out = io.StringIO()
    PlainReporter(out).update(Status("srv", "host", State.FAILED, version=text, detail=text))
    return out.getvalue()


def on_console(text: str, capsys: Any) -> str:
    setup = setup_logging(CfgQmi(), "srv")
    try:
        logging.getLogger("test").warning("peer says %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            logging.getLogger("test").exception("failed: %s", text)
    finally:
        setup.uninstall()
    return str(capsys.readouterr().err)


WAYS: dict[str, Callable[[str], str]] = {
    "repr of a proxy": lambda text: repr(make_proxy(None, Address("srv", "dev"), interface(text))),  # type: ignore[arg-type]
    "help of a proxy": shown_help,
    "a table of show_...()": shown_table,
    "repr of a future": of_future,
    "an error that is known here": lambda text: remote(("builtins", "ValueError"), text),
    "an error of ours": lambda text: remote(("qmi.core.exceptions", "QMI_InstrumentException"), text),
    "an error that is unknown here": lambda text: remote(("elsewhere" + text, "Error"), text),
    "qmi_proc": reported,
    "a value of an unknown type": lambda text: repr(
        UnknownTypeValue(NamedKind.DATACLASS, f"lab:Cls{text}", {f"field{text}": text})
    ),
    "a member of an unknown enum": lambda text: repr(
        UnknownTypeValue(NamedKind.ENUM, f"lab:Cls{text}", {"name": text, "value": text})
    ),
    "a line of qmi_proc": clean,
    "output of a program on a terminal": lambda text: PrintableText().feed(text.encode("utf-8", "surrogatepass")),
}


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_fault_49_way_out_is_printable(way: Callable[[str], str], text: str) -> None:
    shown = way(text)
    assert [char for char in shown if not char.isprintable() and char not in "\n\t"] == []


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_log_is_printable_on_the_console(text: str, capsys: Any) -> None:
    shown = on_console(text, capsys)
    assert [char for char in shown if not char.isprintable() and char not in "\n\t"] == []
    assert printable(text) in shown


@pytest.mark.parametrize("text", [FORGED, FORGED.replace("\n", "\r\n"), "a\n\n\nb", "\n" + FORGED, FORGED + "\n"])
def test_fault_49_log_message_cannot_look_like_two(text: str, capsys: Any, tmp_path: Path) -> None:
    setup = setup_logging(CfgQmi(log_dir=str(tmp_path)), "srv")
    try:
        logging.getLogger("test").warning("peer says %s", text)
        try:
            raise QMI_InstrumentException(text)
        except QMI_InstrumentException:
            logging.getLogger("test").exception("failed")
    finally:
        setup.uninstall()
    console = capsys.readouterr().err.splitlines()
    assert [line for line in console if re.match(r"\d{4}-", line)] == [
        line for line in console if "| test  " in line and ("peer says" in line or "failed" in line)
    ]
    lines = (tmp_path / "qmi.log").read_text().splitlines()
    begins = [line for line in lines if not re.search(r"\| test +\| \| ", line)]
    assert len(begins) == 2
    assert all("] | test " in line for line in lines)


def test_log_keeps_the_lines_of_a_traceback_readable(capsys: Any) -> None:
    shown = on_console("quite harmless", capsys)
    assert "\nTraceback (most recent call last):\n  File " in shown
    assert "\nValueError: quite harmless\n" in shown


def test_lines_of_a_remote_traceback_are_marked() -> None:
    trace = 'Traceback\n  File "x"\nValueError: a\n"""\n\nTraceback (most recent call last):\n  forged\n'
    error = rebuild_exception(("builtins", "ValueError"), "a", trace, ["a"], {})
    shown = str(error.__cause__).splitlines()
    assert shown[1] == '"""'
    assert shown[-1] == '"""'
    assert shown[2:-1] == ["| " + line for line in trace.splitlines()]


@pytest.mark.parametrize("text", ["", "µ °C Ω", "ordinary text", "日本語", "naïve"])
def test_printable_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text
    assert printable_lines(f"{text}\n\t{text}") == f"{text}\n\t{text}"


@pytest.mark.parametrize("part", ["a\nb", "\x1b[0m", "", "a\u202eb"])
def test_proxy_of_an_address_that_cannot_be_printed_is_refused(part: str) -> None:
    plain = ["proxy", [part, "dev"], interface_to_plain(Interface("lab.Cls"))]
    with pytest.raises(ValueError):
        References(None).restore(plain)


def test_character_that_is_cut_in_two_is_shown_whole() -> None:
    text = PrintableText()
    assert "".join(text.feed(bytes([byte])) for byte in "5 µm\n".encode()) == "5 µm\n"


def test_data_of_an_error_stays_as_it_is() -> None:
    error = rebuild_exception(("builtins", "ValueError"), "x", "", ["x", b"\x1b", 5], {"reply": "\x06"})
    assert error.args == ("x", b"\x1b", 5)
    assert error.reply == "\x06"
