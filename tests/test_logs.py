from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from qmi.config.schema import CfgLogging, CfgQmi
from qmi.errors import QMI_UsageException
from qmi.logs import RateLimit, log_file_name, setup_logging, shutdown_logging

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \| (\w+) +\| ([\w.]+) *\| (.*)\Z")
rpc = logging.getLogger("qmi.core.rpc")


@pytest.fixture(autouse=True)
def levels_and_handlers_come_back() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield
    shutdown_logging()
    assert (root.level, root.handlers) == before
    assert rpc.level == logging.NOTSET


def configured(home: Path, **settings: Any) -> CfgQmi:
    return CfgQmi(config_file=str(home / "qmi.conf"), logging=CfgLogging(**settings))


def messages(text: str) -> list[tuple[str, ...]]:
    """Level, logger and message of each line; fails if one has another shape."""
    found = [LINE.match(line) for line in text.splitlines()]
    return [match.groups() for match in found if match is not None or pytest.fail(text)]


def log_at_every_level(name: str) -> None:
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(logging.getLogger(name), level)(level)


def texts(text: str) -> list[str]:
    return [message for _, _, message in messages(text)]


def test_a_line_looks_as_in_the_tutorial(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(CfgQmi(), "lab")
    record = rpc.makeRecord("qmi.core.rpc", logging.WARNING, "", 0, "%s forcefully unlocked!", ("nsg",), None)
    record.created, record.msecs = 1638283855.786, 786.0
    rpc.handle(record)
    line = "2021-11-30 14:50:55.786 | WARNING  | qmi.core.rpc           | nsg forcefully unlocked!\n"
    assert capsys.readouterr() == ("", line)


def test_times_are_utc_wherever_the_computer_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        test_a_line_looks_as_in_the_tutorial(capsys)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_without_a_configuration_file_warnings_are_shown_and_nothing_is_written(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging(CfgQmi(), "lab")
    log_at_every_level("my.script")
    assert texts(capsys.readouterr().err) == ["warning", "error", "critical"]
    assert list(home.iterdir()) == []


def test_with_a_configuration_file_there_is_a_log_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(configured(home), "lab")
    log_at_every_level("qmi.core.rpc")
    assert texts((home / "qmi.log").read_text()) == ["info", "warning", "error", "critical"]
    assert texts(capsys.readouterr().err) == ["warning", "error", "critical"]


def test_a_log_directory_alone_is_enough_for_a_log_file_and_is_made(home: Path) -> None:
    setup_logging(CfgQmi(log_dir=str(home / "a" / "b")), "lab")
    rpc.error("µ \ud800")
    assert texts((home / "a" / "b" / "qmi.log").read_text()) == ["µ \\ud800"]


def test_no_log_file_is_written_if_none_is_wanted(home: Path) -> None:
    setup_logging(configured(home, logfile=None), "lab")
    rpc.error("x")
    assert list(home.iterdir()) == []


def test_the_name_of_the_log_file_is_filled_in(home: Path) -> None:
    now = datetime(2021, 11, 30, 14, 50, 55)
    name = log_file_name("%(context)s/%(date)s-%(datetime)s-100%%.log", "lab", now)
    assert name == "lab/2021-11-30-2021-11-30T14-50-55-100%.log"
    assert log_file_name("~/x.log", "lab", now) == str(home / "x.log")
    setup_logging(configured(home, logfile="logs/%(context)s.log"), "lab")
    rpc.error("x")
    assert texts((home / "logs" / "lab.log").read_text()) == ["x"]


def test_the_log_file_is_continued_and_rotated(home: Path) -> None:
    for number in range(4):
        setup_logging(configured(home, max_bytes=120, backup_count=1), "lab")
        rpc.error("number %d", number)
    shutdown_logging()
    assert texts((home / "qmi.log.1").read_text()) == ["number 2"]
    assert texts((home / "qmi.log").read_text()) == ["number 3"]
    assert sorted(path.name for path in home.iterdir()) == ["qmi.log", "qmi.log.1"]


@pytest.mark.parametrize(
    ("settings", "argument", "debug", "on_console", "in_file"),
    [
        ({}, None, False, 3, 4),
        ({"console_loglevel": "INFO"}, None, False, 4, 4),
        ({"console_loglevel": "INFO"}, "ERROR", False, 2, 4),
        ({}, "DEBUG", False, 5, 4),
        ({"loglevel": "ERROR"}, "INFO", False, 4, 2),
        ({"loglevels": {"qmi.core": "DEBUG"}}, None, False, 3, 5),
        ({"loglevels": {"qmi.core": "DEBUG", "qmi.core.rpc": "CRITICAL"}}, "DEBUG", False, 1, 1),
        ({"loglevels": {"": "ERROR"}}, "INFO", False, 2, 2),
        ({"loglevels": {"other": "DEBUG"}}, None, False, 3, 4),
        ({}, "CRITICAL", True, 5, 5),
        ({"loglevels": {"qmi.core.rpc": "ERROR"}}, None, True, 2, 2),
    ],
)
def test_levels(
    settings: dict[str, Any],
    argument: str | None,
    debug: bool,
    on_console: int,
    in_file: int,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if debug:
        monkeypatch.setenv("QMI_DEBUG", "")
    setup_logging(configured(home, **settings), "lab", console_loglevel=argument)
    log_at_every_level("qmi.core.rpc")
    assert len(messages(capsys.readouterr().err)) == on_console
    assert len(messages((home / "qmi.log").read_text())) == in_file


@pytest.mark.parametrize("level", ["info", "LOUD", "", 10])
def test_an_unknown_level_is_refused_and_nothing_changes(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(CfgQmi(), "lab")
    with pytest.raises(QMI_UsageException, match=r"Unknown log level .* expected one of DEBUG, INFO, WARNING"):
        setup_logging(CfgQmi(), "lab", console_loglevel=level)
    rpc.warning("still here")
    assert texts(capsys.readouterr().err) == ["still here"]


def test_setting_up_again_replaces_what_was_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        setup_logging(configured(home), "lab")
    rpc.warning("once")
    assert texts(capsys.readouterr().err) == ["once"]
    assert texts((home / "qmi.log").read_text()) == ["once"]


def test_handlers_of_others_stay_and_see_everything(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging(CfgQmi(logging=CfgLogging(rate_limit=1)), "lab")
    for number in range(3):
        rpc.warning("number %d", number)
    shutdown_logging()
    assert caplog.messages == ["number 0", "number 1", "number 2"]
    assert caplog.handler in logging.getLogger().handlers
    assert texts(capsys.readouterr().err) == ["number 0", "number %d (2 more like this were suppressed)"]


def test_a_level_that_somebody_changed_meanwhile_is_left_alone() -> None:
    logger = logging.getLogger("qmi.test.changed")
    setup_logging(CfgQmi(logging=CfgLogging(loglevels={logger.name: "ERROR"})), "lab")
    assert logger.level == logging.ERROR
    logger.setLevel(logging.DEBUG)
    shutdown_logging()
    assert logger.level == logging.DEBUG
    logger.setLevel(logging.NOTSET)


def test_shutting_down_what_was_never_set_up_is_harmless() -> None:
    shutdown_logging()
    shutdown_logging()


def test_a_traceback_is_written_below_its_message(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(configured(home), "lab")
    try:
        raise ValueError("boom")
    except ValueError:
        rpc.exception("it failed")
    for text in (capsys.readouterr().err, (home / "qmi.log").read_text()):
        assert " | it failed\nTraceback (most recent call last):\n" in text
        assert text.endswith("ValueError: boom\n")


def test_a_message_that_cannot_be_formatted_harms_nobody(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    setup_logging(configured(home), "lab")
    with monkeypatch.context() as patch:
        patch.setattr(root, "handlers", root.handlers[-1:])  # pytest's own would fail the test
        rpc.warning("%d samples", "many")
    assert "Arguments: ('many',)" in capsys.readouterr().err
    rpc.warning("next")
    assert texts(capsys.readouterr().err) == texts((home / "qmi.log").read_text()) == ["next"]


@pytest.mark.fault(26)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk without room")
def test_fault_26_with_a_full_disk_the_log_goes_to_the_console_and_says_so_once(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging(configured(home, logfile="/dev/full"), "lab")
    log_at_every_level("qmi.core.rpc")
    log_at_every_level("qmi.core.task")
    assert texts(capsys.readouterr().err) == [
        "The log file /dev/full cannot be written (No space left on device); its messages go here from now on",
        *["info", "warning", "error", "critical"] * 2,
    ]


@pytest.mark.fault(26)
def test_fault_26_a_failing_rotation_is_survived_too(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup_logging(configured(home, max_bytes=1), "lab")
    rpc.info("first")

    def fail(source: str, target: str) -> None:
        raise OSError(28, "No space left on device", source)

    monkeypatch.setattr(os, "rename", fail)
    rpc.info("second")
    failure, second = texts(capsys.readouterr().err)
    assert failure.startswith(f"The log file {home}/qmi.log cannot be written (No space left on device)")
    assert second == "second"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda home: (home / "logs").touch(), "File exists"),
        (lambda home: (home / "logs" / "qmi.log").mkdir(parents=True), "Is a directory"),
    ],
)
def test_a_log_file_that_cannot_be_opened_is_a_warning(
    make: Callable[[Path], None], reason: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(home)
    setup_logging(CfgQmi(log_dir=str(home / "logs")), "lab")
    rpc.info("not for the console")
    rpc.error("for the console")
    assert texts(capsys.readouterr().err) == [
        f"There is no log file: {home}/logs/qmi.log cannot be written ({reason})",
        "for the console",
    ]


@pytest.mark.parametrize("stream", [None, "closed", "broken"])
def test_a_missing_standard_error_harms_nobody(stream: str | None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup_logging(configured(home), "lab")
    broken = open("/dev/null") if stream is None or stream == "broken" else open(os.devnull, "w")  # noqa: SIM115
    broken.close() if stream == "closed" else None
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None if stream is None else broken)
        rpc.error("x")
    broken.close()
    assert texts((home / "qmi.log").read_text()) == ["x"]


def test_what_is_still_suppressed_at_exit_is_told(home: Path) -> None:
    program = (
        "import logging; from qmi.logs import *; from qmi.config.schema import *\n"
        "setup_logging(CfgQmi(logging=CfgLogging(rate_limit=0.001)), 'lab')\n"
        "for i in range(3): logging.error('again')\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert texts(run.stderr) == ["again", "again (2 more like this were suppressed)"]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def record(text: object, name: str = "a", level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, text, (), None)


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    clock = Clock()
    limit = RateLimit(2.0, 3, clock=clock)
    assert [limit.admit(record("x")) for _ in range(5)] == [0, 0, 0, None, None]
    clock.now += 0.4
    assert limit.admit(record("x")) is None
    clock.now += 0.1
    assert limit.admit(record("x")) == 3
    assert limit.admit(record("x")) is None
    clock.now += 3600
    assert [limit.admit(record("x")) for _ in range(4)] == [1, 0, 0, None]


def test_logger_level_and_format_make_a_place_of_their_own() -> None:
    limit = RateLimit(1.0, 1, clock=Clock())
    places = [record("x"), record("x", name="b"), record("x", level=logging.ERROR), record("y"), record(["x"])]
    assert [limit.admit(place) for place in places] == [0] * 5
    assert [limit.admit(place) for place in places] == [None] * 5


def test_one_suppressed_message_is_told_in_the_singular() -> None:
    limit = RateLimit(1.0, 1, clock=Clock())
    assert (limit.admit(record("100%")), limit.admit(record("100%"))) == (0, None)
    assert [told.getMessage() for told in limit.suppressed()] == ["100% (1 more like this was suppressed)"]


def test_messages_that_are_never_the_same_take_no_memory() -> None:
    limit = RateLimit(1.0, 1, clock=Clock())
    for number in range(5000):
        assert limit.admit(record(f"number {number}")) == 0
        assert limit.admit(record(f"number {number}")) is None
    assert len(limit.suppressed()) == 1000
