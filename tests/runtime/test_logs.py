from __future__ import annotations

import gc
import logging
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trio

import qmi
from qmi.config.schema import CfgLogging, CfgQmi
from qmi.core.context import QMI_Context
from qmi.errors import QMI_UsageException
from qmi.runtime.call_context import EXECUTION, Execution
from qmi.runtime.logs import RateLimit, log_file_name, setup_logging, shutdown_logging

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \| (\w+) +\| (?:[-\w()]+\[\d+\] \| )?([\w.]+) *\| (.*)\Z")
rpc = logging.getLogger("qmi.core.rpc")


@pytest.fixture(autouse=True)
def levels_and_handlers_come_back() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning
    yield
    shutdown_logging()
    assert (root.level, root.handlers) == before
    assert hooks == (sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning)
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
    return [message.removeprefix("| ") for _, _, message in messages(text)]


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


def test_log_without_a_configuration_file_shows_warnings_and_writes_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging(CfgQmi(), "lab")
    log_at_every_level("my.script")
    assert texts(capsys.readouterr().err) == ["warning", "error", "critical"]
    assert list(home.iterdir()) == []


def test_log_with_a_configuration_file_is_written_to_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(configured(home), "lab")
    log_at_every_level("qmi.core.rpc")
    assert texts((home / "qmi.log").read_text()) == ["info", "warning", "error", "critical"]
    assert texts(capsys.readouterr().err) == ["warning", "error", "critical"]


def test_a_log_directory_alone_is_enough_for_a_log_file_and_is_made(home: Path) -> None:
    setup_logging(CfgQmi(log_dir=str(home / "a" / "b")), "lab")
    rpc.error("µ \ud800")
    assert texts((home / "a" / "b" / "qmi.log").read_text()) == ["µ \\ud800"]


def test_log_file_is_not_written_if_none_is_wanted(home: Path) -> None:
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
    on_console = capsys.readouterr().err
    assert " | it failed\nTraceback (most recent call last):\n" in on_console
    assert on_console.endswith("ValueError: boom\n")
    in_file = texts((home / "qmi.log").read_text())
    assert in_file[:2] == ["it failed", "Traceback (most recent call last):"]
    assert in_file[-1] == "ValueError: boom"


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


def test_log_reports_at_exit_what_is_still_suppressed(home: Path) -> None:
    program = (
        "import logging; from qmi.runtime.logs import *; from qmi.config.schema import *\n"
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


def test_log_reports_one_suppressed_message_in_the_singular() -> None:
    limit = RateLimit(1.0, 1, clock=Clock())
    assert (limit.admit(record("100%")), limit.admit(record("100%"))) == (0, None)
    assert [told.getMessage() for told in limit.suppressed()] == ["100% (1 more like this was suppressed)"]


def test_messages_that_are_never_the_same_take_no_memory() -> None:
    limit = RateLimit(1.0, 1, clock=Clock())
    for number in range(5000):
        assert limit.admit(record(f"number {number}")) == 0
        assert limit.admit(record(f"number {number}")) is None
    assert len(limit.suppressed()) == 1000


# Several contexts


def test_setups_of_several_contexts_are_taken_down_each_by_its_own(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def logged(name: str) -> list[str]:
        return texts((home / name).read_text())

    first = setup_logging(configured(home, logfile="a.log"), "a")
    second = setup_logging(configured(home, logfile="b.log", console_loglevel="ERROR"), "b")
    rpc.warning("one")
    first.uninstall()
    rpc.warning("two")
    rpc.error("three")
    third = setup_logging(configured(home, logfile="a.log", console_loglevel="INFO"), "a")
    rpc.info("four")
    second.uninstall()
    third.uninstall()
    third.uninstall()
    rpc.critical("five")
    assert logged("a.log") == ["one", "four"]
    assert logged("b.log") == ["one", "two", "three", "four"]
    assert texts(capsys.readouterr().err) == ["one", "three", "four"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_log_file_of_several_contexts_has_each_line_once(home: Path, order: tuple[int, int]) -> None:
    setups = [setup_logging(configured(home), name) for name in ("a", "b")]
    rpc.warning("one")
    setups[order[0]].uninstall()
    rpc.warning("two")
    setups[order[1]].uninstall()
    rpc.warning("three")
    assert texts((home / "qmi.log").read_text()) == ["one", "two"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_levels_are_restored_in_any_order(order: tuple[int, int]) -> None:
    root = logging.getLogger()
    before = root.level
    loglevels = [{"qmi.core.rpc": "DEBUG"}, {"qmi.core.rpc": "ERROR"}]
    setups = [setup_logging(CfgQmi(logging=CfgLogging(loglevels=levels)), "a") for levels in loglevels]
    assert rpc.level == logging.DEBUG
    setups[order[0]].uninstall()
    assert rpc.level == (logging.ERROR if order[0] == 0 else logging.DEBUG)
    setups[order[1]].uninstall()
    assert (rpc.level, root.level) == (logging.NOTSET, before)


def test_open_context_beside_a_started_one_leaves_its_log_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "qmi.conf").write_text("{}")
    outer = QMI_Context("outer")

    async def inner(fail: bool) -> None:
        cfg = {"inner": {"tcp_server_port": 1 if fail else 0, "host": "198.51.100.7" if fail else "127.0.0.1"}}
        async with qmi.open_context("inner", context_cfg=cfg):
            rpc.warning("inside")

    with qmi.start("first"):
        trio.run(inner, False)
        rpc.warning("after the inner one")
        with pytest.raises(qmi.core.exceptions.QMI_Exception):
            trio.run(inner, True)
        with pytest.raises(qmi.core.exceptions.QMI_Exception):
            qmi.start("second")
        with outer:
            rpc.warning("with a plain one")
        rpc.warning("at the end")
    rpc.warning("too late")
    lines = [text for level, _, text in messages((home / "qmi.log").read_text()) if level == "WARNING"]
    assert lines == ["inside", "after the inner one", "with a plain one", "at the end"]
    assert "Context inner ends while this exception passes or is handled" in (home / "qmi.log").read_text()
    assert "after the inner one" in capsys.readouterr().err


# What nobody catches, and what others show


def run_script(home: Path, script: str) -> tuple[str, str]:
    """Run a script in a process of its own; return its standard error and its log file."""
    (home / "qmi.conf").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "HOME": str(home)},
    )
    return done.stderr, (home / "qmi.log").read_text()


@pytest.mark.parametrize("with_block", [False, True])
def test_an_exception_that_nobody_catches_is_in_the_log_file_and_shown_once(home: Path, with_block: bool) -> None:
    start = "with qmi.start('lab'):\n    " if with_block else "qmi.start('lab')\n"
    shown, logged = run_script(home, f"import qmi\n{start}raise ValueError('bo' + 'om')")
    lines = [line for line in logged.splitlines() if "qmi.uncaught" in line]
    assert lines[-1].endswith("| ValueError: boom")
    assert all(re.search(r"\| lab\[\d+\] \|", line) for line in logged.splitlines())
    assert shown.count("ValueError: boom") == 1


def test_log_file_has_exceptions_that_end_a_thread_or_are_ignored_by_python(home: Path) -> None:
    seen: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", seen.append)
        patch.setattr(sys, "unraisablehook", seen.append)
        patch.setattr(sys, "excepthook", lambda *args: seen.append(args))
        patch.delattr(sys, "ps1", raising=False)  # a prompt in another test leaves it behind
        setup = setup_logging(configured(home), "lab")

        def fail() -> None:
            raise ValueError("in a thread")

        thread = threading.Thread(target=fail, name="worker")
        thread.start()
        thread.join()

        class Odd:
            def __del__(self) -> None:
                raise ValueError("in a finalizer")

        del [Odd()][0]
        gc.collect()
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
        on_top = sys.excepthook
        patch.setattr(sys, "excepthook", lambda *args: on_top(*args))
        setup.uninstall()
        sys.excepthook(ValueError, ValueError("too late"), None)
    lines = texts((home / "qmi.log").read_text())
    assert lines[0] == "An exception that nobody has caught ends thread 'worker'"
    assert "ValueError: in a thread" in lines
    assert "ValueError: in a finalizer" in lines
    assert lines[-1] == "An exception that nobody has caught ends the program: KeyboardInterrupt"
    assert len(seen) == 4


PROMPT = "An exception that nobody has caught ends what was typed at the prompt"
PROGRAM = "An exception that nobody has caught ends the program"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-i", "-"], [PROMPT, PROMPT]),  # as at a terminal; what is no Python was not run
        pytest.param(
            ["-i", "-c", "{start}; 1 / 0"], [PROMPT, PROMPT, PROMPT], marks=pytest.mark.slow
        ),  # a script that leaves its user at a prompt
        pytest.param(["-c", "{start}; 1 / 0"], [PROGRAM], marks=pytest.mark.slow),
        pytest.param(
            ["-"], [PROGRAM], marks=pytest.mark.slow
        ),  # a script that comes by a pipe ends with its first exception
    ],
)
def test_log_file_says_whether_an_exception_has_ended_the_program(
    home: Path, options: list[str], said: list[str]
) -> None:
    (home / "qmi.conf").write_text("{}")
    start = f"import qmi; _ = qmi.start('lab', {str(home / 'qmi.conf')!r})"
    typed = f"{'' if '-c' in options else start}\n1 / 0\n1 +/ 2\nundefined\nqmi.stop()\n"
    if options == ["-"]:
        typed = typed.replace("1 +/ 2\n", "")
    command = [sys.executable, *(option.replace("{start}", start) for option in options)]
    environment = {**os.environ, "QMI_HOME": str(home), "HOME": str(home)}
    subprocess.run(command, input=typed, text=True, capture_output=True, timeout=60, env=environment)
    lines = texts((home / "qmi.log").read_text())
    assert [line for line in lines if line.startswith("An exception")] == said
    assert not [line for line in lines if "SyntaxError" in line]


@pytest.mark.parametrize("captured_before", [False, True])
def test_warnings_of_python_are_in_the_log_file_once(
    home: Path, capsys: pytest.CaptureFixture[str], captured_before: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(captured_before)
        setup = setup_logging(configured(home), "lab")
        warnings.warn("careful", UserWarning, stacklevel=1)
        setup.uninstall()
        assert (warnings.showwarning.__module__ == "logging") is captured_before
        logging.captureWarnings(False)
    lines = texts((home / "qmi.log").read_text())
    assert len([line for line in lines if "UserWarning: careful" in line]) == 1
    assert capsys.readouterr().err.count("UserWarning: careful") == 1


def test_warnings_that_differ_are_not_limited_together(home: Path) -> None:
    setup_logging(configured(home, rate_limit=0.001), "lab")
    for number in (1, 2, 2):
        logging.getLogger("py.warnings").warning("%s", f"warning {number}")
    assert texts((home / "qmi.log").read_text()) == ["warning 1", "warning 2"]


@pytest.mark.parametrize("where", ["", "my.script"])
@pytest.mark.parametrize("stream", ["stderr", "stdout"])
def test_a_console_handler_of_the_user_gives_no_double_lines(
    where: str, stream: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logging.StreamHandler(getattr(sys, stream))
    handler.setLevel("ERROR")
    logging.getLogger(where).addHandler(handler)
    try:
        setup_logging(configured(home), "lab")
        logging.getLogger("my.script.part").error("an error")
        logging.getLogger("my.script.part").warning("a warning")
    finally:
        logging.getLogger(where).removeHandler(handler)
    out, err = capsys.readouterr()
    assert (out + err).count("an error") == (out + err).count("a warning") == 1
    assert texts((home / "qmi.log").read_text()) == ["an error", "a warning"]


def test_basic_config_gives_no_double_lines_and_keeps_its_level(home: Path) -> None:
    script = (
        "import logging, qmi\nlogging.basicConfig(level=logging.DEBUG)\nwith qmi.start('lab'):\n"
        "    logging.warning('once')\n    logging.debug('fine')\n"
    )
    shown, logged = run_script(home, script)
    assert shown.count("once") == logged.count("once") == 1
    assert shown.count("DEBUG:root:fine") == 1
    assert "fine" not in logged


def test_a_log_file_that_was_moved_away_is_opened_again(home: Path) -> None:
    setup_logging(configured(home, logfile="logs/qmi.log"), "lab")
    rpc.error("one")
    (home / "logs" / "qmi.log").rename(home / "logs" / "old.log")
    rpc.error("two")
    (home / "logs" / "qmi.log").unlink()
    (home / "logs" / "qmi.log").write_text("")
    rpc.error("three")
    (home / "logs").rename(home / "gone")
    rpc.error("four")
    assert texts((home / "gone" / "old.log").read_text()) == ["one"]
    assert texts((home / "gone" / "qmi.log").read_text()) == ["three"]
    assert texts((home / "logs" / "qmi.log").read_text()) == ["four"]


def test_lines_name_the_context_that_they_come_from(home: Path) -> None:
    setup_logging(configured(home), "outer")
    rpc.error("outside\nand below")
    token = EXECUTION.set(Execution(QMI_Context("inner")))
    rpc.error("inside")
    EXECUTION.reset(token)
    lines = (home / "qmi.log").read_text().splitlines()
    assert [line.split(" | ")[2] for line in lines] == [
        f"{name}[{os.getpid()}]" for name in ("outer", "outer", "inner")
    ]
