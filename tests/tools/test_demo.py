from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

import qmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_UnknownNameException, QMI_UsageException
from qmi.tools import demo, demo_programs
from qmi.tools.stage import Stage
from tests.support.desk import Desk

COMMAND = "python3 -m qmi.tools.demo"


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    monkeypatch.setattr(demo, "PERIOD", 0.0)
    return io.StringIO()


@pytest.mark.slow
def test_demo_shows_an_instrument_a_refusal_by_name_and_a_wave(home: Path) -> None:
    with Desk(home) as desk:
        run = desk.run(f"{COMMAND} one-program")
    assert (run.returncode, run.stderr) == (0, "")
    text = " ".join(run.stdout.split())
    assert "lab.nsg" in text
    assert "QMI_ObjectLockedException: The object is locked by another proxy: lab.nsg is held by context 'lab'" in text
    assert "measuring: 1000 of 1000" in text
    assert re.search(r"1000 samples in \d+\.\d\d s, mean -?\d", text)
    assert len(re.findall(r"^ *-?[\d.]* \|.*[\u2800-\u28ff]", run.stdout, re.MULTILINE)) >= 10
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_demo_of_three_programs_shares_an_instrument(home: Path, output: io.StringIO) -> None:
    assert demo.main(["three-programs"], Stage(output, 80)) == 0
    text = " ".join(output.getvalue().split())
    assert re.search(r"bench at 127\.0\.0\.1:\d+", text)
    assert "Bob: QMI_ObjectLockedException: The object is locked by another proxy: bench.scope is held by" in text
    assert "context 'alice'" in text
    assert re.search(r"Bob: locked after \d\.\d+ s, and got -?\d", text)
    assert re.search(r"1250000 points in \d+ ms: \d+ MB/s", text)
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_demo_ends_with_what_a_terminal_shows_of_it(home: Path, output: io.StringIO) -> None:
    assert list(demo.CHAPTERS)[-2:] == ["command-line", "browser"]
    assert demo.main(["command-line"], Stage(output, 200)) == 0
    assert re.search(r"^bench +running +127\.0\.0\.1:\d+ ", output.getvalue(), re.MULTILINE)
    assert re.search(r"^scope +Oscilloscope +closed ", output.getvalue(), re.MULTILINE)
    assert list(home.iterdir()) == []


def test_a_waveform_is_a_damped_wave_of_ten_megabytes() -> None:
    points = array("d", demo_programs.Oscilloscope(QMI_Context("lab", None), "scope").get_waveform())
    assert len(points) * 8 == demo_programs.WAVEFORM
    assert 0.5 < max(points) < 1.0
    assert max(points[900:1000]) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "said"), [("go\n", r"ready\nlocked after 0\.\d+ s, and got .*\n"), ("", r"ready\n")])
def test_bob_is_not_refused_when_nobody_holds_the_instrument(
    typed: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = demo_programs.write_config(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    with demo_programs.program("bench", config):
        demo_programs.bob(config)
    assert re.fullmatch(said, capsys.readouterr().out)


def test_the_bench_ends_with_its_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    demo_programs.bench(demo_programs.write_config(tmp_path))
    assert capsys.readouterr().out == "ready\n"


def test_an_instrument_that_nobody_has_is_an_error(tmp_path: Path) -> None:
    nobody = pytest.raises(QMI_UnknownNameException, match="Nobody on this computer answered by the name 'bench'")
    with qmi.start("alone", demo_programs.write_config(tmp_path)), nobody:
        demo_programs.connect()


def test_a_program_that_ends_early_is_named(home: Path) -> None:
    ended_early = pytest.raises(RuntimeError, match=r"qmi\.tools\.demo_roles nobody \S+ ended early")
    with ended_early, demo_programs.program("nobody", "x"):
        pytest.fail("it started")


@pytest.mark.slow
def test_demo_at_a_terminal_shows_a_progress_bar(home: Path) -> None:
    with Desk(home) as desk:
        desk.environment["TERM"] = "xterm-256color"
        program = desk.program(f"{COMMAND} one-program")
        program.expect("1000/1000")
        assert program.wait()[0] == 0


@pytest.mark.parametrize(
    ("chapter", "moment"),
    [
        ("one-program", "measuring"),
        pytest.param("three-programs", "Alice measures", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_ends_it_cleanly(chapter: str, moment: str, home: Path) -> None:
    with Desk(home) as desk:
        desk.environment["TERM"] = "xterm-256color"
        program = desk.program(f"{COMMAND} {chapter}")
        program.expect(moment)
        program.interrupt()
        status, printed = program.wait()
    assert status == demo.INTERRUPTED
    assert "Broken off; everything has been closed." in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("width", [16, 40, 80, 300])
def test_lines_fit_into_the_terminal(width: int, output: io.StringIO) -> None:
    assert demo.main(["one-program"], Stage(output, width)) == 0
    assert max(map(len, output.getvalue().splitlines())) <= width


@pytest.mark.slow
def test_demo_without_unicode_shows_plain_text(home: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "qmi.tools.demo", "one-program"]
    run = subprocess.run(command, cwd=home, env=environment, capture_output=True, timeout=30)
    assert (run.returncode, run.stderr) == (0, b"")
    assert b"*" in run.stdout


def test_chapters_can_be_chosen(monkeypatch: pytest.MonkeyPatch, output: io.StringIO) -> None:
    def first(stage: Stage) -> None:
        """The first."""
        stage.say("one")

    def second(stage: Stage) -> None:
        stage.say("two")

    monkeypatch.setattr(demo, "CHAPTERS", {"a": first, "b": second})
    assert demo.main(["b", "a"], Stage(output, 40)) == 0
    words = [line.strip("─ ") for line in output.getvalue().splitlines()]
    assert [word for word in words if word] == ["b", "two", "The first.", "one"]


def test_unknown_chapter_is_named_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        demo.main(["two-programs"])
    assert caught.value.code == 2
    assert "there is no chapter 'two-programs'; there are one-program, three-programs" in capsys.readouterr().err


def test_a_chapter_that_fails_is_no_success(monkeypatch: pytest.MonkeyPatch, output: io.StringIO) -> None:
    def failing(stage: Stage) -> None:
        raise QMI_UsageException("broken")

    monkeypatch.setattr(demo, "CHAPTERS", {"a": failing})
    with pytest.raises(QMI_UsageException):
        demo.main([], Stage(output, 40))


def test_a_live_picture_shows_its_last_values_where_nothing_moves(output: io.StringIO) -> None:
    stage = Stage(output, 40)
    with stage.live_picture((0.0, 1.0)) as show:
        show([0.0])
        assert output.getvalue() == ""
        show([1.0])
    assert output.getvalue().count("|") == 12


def test_a_live_picture_moves_at_a_terminal() -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    stage = Stage(terminal, 40)
    stage.code("print(1)")
    stage.failure("oh")
    assert stage.is_live
    with stage.live_picture() as show:
        show([0.0, 1.0])
    assert "\u28ff" >= max(terminal.getvalue()) > "\u2800"
