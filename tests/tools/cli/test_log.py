"""``qmi log``: what contexts have logged, once or on and on."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qmi.actors.context_object import ContextObject
from qmi.config.loader import load_config
from qmi.contexts import log_reader
from qmi.core.context import LogBatch, LogRecordStatus, QMI_Context
from qmi.core.exceptions import QMI_Exception, QMI_UnknownRpcException
from qmi.runtime.log_ring import LogRing
from qmi.tools.cli.log_text import Since, since_text
from qmi.tools.cli.log_view import LogView
from qmi.tools.cli.session import Laboratory
from qmi.tools.cli.terminal import Terminal
from tests.support.cli import Cli, serving, write_lab
from tests.support.cli_terminal import ended, plain, spawn
from tests.support.followed_logs import Followed

NOON = datetime(2025, 11, 26, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> LogRing:
    ring = LogRing(records=5)
    ring.feeders = 1
    monkeypatch.setattr(log_reader.LogReader.__init__, "__kwdefaults__", {"ring": ring})
    return ring


def log(ring: LogRing, *texts: str, level: int = logging.INFO, context: str = "lab", at: float = NOON) -> None:
    for text in texts:
        ring.add(logging.makeLogRecord({"levelno": level, "name": "lab.laser", "created": at}), text, context)


def test_log_is_shown_as_in_a_log_file(cli: Cli, lab: QMI_Context, ring: LogRing) -> None:
    log(ring, "warm\nand \x1b[2Jred", level=logging.WARNING)
    log(ring, "of another one", context="desk")
    assert cli("log", "lab").out == (
        "2025-11-26 12:00:00.000 | WARNING  | lab.laser              | warm\n"
        "    | and \\x1b[2Jred\n"
        "2025-11-26 12:00:00.000 | INFO     | desk       | lab.laser              | of another one\n"
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "abcde"),
        (["-n", "2"], "de"),
        (["--level", "warning"], "ce"),
        (["--level", "warning", "-n", "1"], "e"),
        (["--since", "2025-11-26 11:59"], "abcde"),
        (["--since", "2025-11-26T12:30"], "de"),
        (["--since", "2025-11-26T13:30+01:00"], "de"),
        (["--since", "2025-11-26 12:30", "-n", "1"], "e"),
        (["--since", "1s"], ""),
    ],
)
def test_log_is_chosen_by_number_level_and_time(
    options: list[str], expected: str, cli: Cli, lab: QMI_Context, ring: LogRing
) -> None:
    log(ring, "a", "b")
    log(ring, "c", level=logging.WARNING)
    log(ring, "d", at=NOON + 1800)
    log(ring, "e", level=logging.ERROR, at=NOON + 3600)
    printed = cli("log", "lab", *options)
    assert (printed.code, "".join(line[-1] for line in printed.out.splitlines())) == (0, expected)


def test_log_for_programs_has_a_line_for_each_record(cli: Cli, lab: QMI_Context, ring: LogRing) -> None:
    log(ring, "a", "b\nc")
    found = [json.loads(line) for line in cli("log", "lab", "--json").out.splitlines()]
    assert [(entry["asked"], entry["message"], entry["level_name"]) for entry in found] == [
        ("lab", "a", "INFO"),
        ("lab", "b\nc", "INFO"),
    ]


def test_records_that_are_not_kept_are_told(cli: Cli, lab: QMI_Context, ring: LogRing) -> None:
    log(ring, *"abcdefg")
    printed = cli("log", "lab")
    assert len(printed.out.splitlines()) == 5
    assert printed.err == "qmi: context 'lab': 2 records before these are not kept any more\n"


def test_program_without_logging_is_told(cli: Cli, lab: QMI_Context, ring: LogRing) -> None:
    ring.feeders = 0
    printed = cli("log", "lab")
    assert (printed.code, printed.out) == (0, "")
    assert "keeps no log records: its program was started without logging (init_logging=False)" in printed.err


def test_log_of_several_contexts_is_in_the_order_of_time(
    config: Path, capsys: pytest.CaptureFixture[str], ring: LogRing, tmp_path: Path
) -> None:
    own: dict[str, object] = {"host": "127.0.0.1", "tcp_server_port": 0}
    path = write_lab(tmp_path, lab=own, desk=own)
    with serving(path), serving(path, "desk"):
        log(ring, "late", at=NOON + 1)
        log(ring, "early")
        printed = Cli(path, capsys)("log", "lab", "desk", "nobody")
    # One program has both contexts here, so that each tells all of it.
    assert [line.split(" | ")[-1] for line in printed.out.splitlines()] == ["early", "early", "late", "late"]
    assert printed.code == 1
    assert "context 'nobody' of workgroup 'cli' was not found" in printed.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nobody"], "context 'nobody' of workgroup 'cli' was not found"),
        (["lab.psu"], "a context is named lab; got 'lab.psu'"),
        (["lab", "--level", "WARN1NG"], "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL; did you mean WARNING?"),
        (["lab", "-n", "0"], "must be a number from 1 on, got '0'"),
        (["lab", "--since", "soon"], "must be an age such as 30s, 10m, 2h or 3d"),
    ],
)
def test_what_cannot_be_shown_is_an_error(arguments: list[str], text: str, cli: Cli, ring: LogRing) -> None:
    printed = cli("log", *arguments)
    assert printed.code == (1 if arguments == ["nobody"] else 2)
    assert text in printed.err


def unknown(*_: Any, **__: Any) -> Any:
    raise QMI_UnknownRpcException("no such method")


def test_older_version_keeps_no_records(cli: Cli, lab: QMI_Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContextObject, "_begin_read_log", unknown)
    printed = cli("log", "lab")
    assert printed.code == 1
    assert "context 'lab' runs an older version, which keeps no log records in memory" in printed.err
    assert "qmi proc logs lab" in printed.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", Since(30.0)),
        ("1.5 h", Since(5400.0)),
        ("10min", Since(600.0)),
        ("3d", Since(259200.0)),
        ("11:30", Since(None, NOON - 1800)),
        ("11:30:05", Since(None, NOON - 1795)),
        ("13:00", Since(None, NOON + 3600 - 86400)),  # not yet today
        ("2025-11-26", Since(None, NOON - 43200)),
    ],
)
def test_times_that_people_type(text: str, expected: Since) -> None:
    assert since_text(text, lambda: datetime.fromtimestamp(NOON, UTC)) == expected


@pytest.mark.parametrize("text", ["", "soon", "25:00", "-3m", "12:61", "3 weeks", "2026-13-01"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="must be an age"):
        since_text(text)


@pytest.mark.parametrize("level", [(10, "2"), (20, ""), (30, "33"), (40, "31"), (50, "1;31")])
def test_level_has_its_colour_on_a_terminal(level: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    out = Screen()
    record = LogRecordStatus(1, NOON, level[0], "lab.laser", "lab", "x" * 300, "Traceback\x1b[2J")
    LogView(Terminal(out)).show("lab", record)
    text = "x" * 300  # not broken into lines: a terminal does that, and puts them together again when it is copied
    assert (f"\x1b[{level[1]}m{text}" if level[1] else f" {text}"[1:]) in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()


# Following


def test_log_is_followed_over_a_restart_elsewhere(config: Path, ring: LogRing) -> None:
    laboratory = Laboratory(load_config(str(config)))
    try:
        with serving(config):
            log(ring, "before")
            followed = Followed(laboratory)
            followed.until("before")
            log(ring, "first")
            followed.until("first")
        followed.until("the log of context 'lab' goes on when it is connected again: ")
        ring.run = "another program"
        with serving(config):
            followed.until("context 'lab' was started again")
            log(ring, "second")
            followed.until("second")
            log(ring, "third")
            followed.until("third")
            followed.over.set()
            log(ring, "fourth")
            followed.thread.join(20)
        assert not followed.thread.is_alive()
        assert followed.err.getvalue().count("goes on when") == 1
        assert followed.out.getvalue().count("third") == 1
    finally:
        laboratory.close()


def test_log_of_a_context_that_is_not_there_is_not_followed(config: Path) -> None:
    laboratory = Laboratory(load_config(str(config)))
    try:
        followed = Followed(laboratory, "nobody")
        with pytest.raises(QMI_Exception, match="context 'nobody' of workgroup 'cli' was not found"):
            followed.step()
        followed.thread.join(20)
    finally:
        laboratory.close()


def test_older_version_is_not_followed(config: Path, lab: QMI_Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContextObject, "_begin_read_log", unknown)
    laboratory = Laboratory(load_config(str(config)))
    try:
        followed = Followed(laboratory)
        with pytest.raises(QMI_Exception, match="runs an older version"):
            followed.step()
        followed.thread.join(20)
    finally:
        laboratory.close()


def test_gap_is_told_while_the_log_is_followed() -> None:
    out, err = io.StringIO(), io.StringIO()
    LogView(Terminal(out, err)).show_batch("lab", LogBatch(lost=1))
    assert err.getvalue() == "qmi: context 'lab': 1 record before these is not kept any more\n"


def test_log_is_followed_at_a_terminal_until_ctrl_c(config: Path, lab: QMI_Context, ring: LogRing) -> None:
    log(ring, "before")
    terminal = spawn(config, "log", "-f", "lab", width=80)
    terminal.expect("before")
    log(ring, "y" * 150, level=logging.ERROR)
    terminal.expect("y{150}")
    assert "ERROR" in plain(terminal.before)
    terminal.sendintr()
    code, rest = ended(terminal)
    assert (code, "Traceback" in rest) == (0, False)
