"""The command that tries what every driver has to get right."""

from __future__ import annotations

from pathlib import Path

import pytest

from qmi.errors import QMI_UsageException
from qmi.testing import DRIVER_RULES, DriverReport
from qmi.tools.driver import check, new
from qmi.tools.driver.arguments import constructor_arguments
from qmi.tools.driver.cli import main
from tests.support.driver_folders import forgotten_drivers, write
from tests.support.oven_driver import Oven

BAD = """
from qmi.core.driver import ScpiInstrument, parameter

class Meter(ScpiInstrument):
    voltage = parameter("VOLT?", float)
"""


def table(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What was printed beside each rule."""
    rows = capsys.readouterr().out.splitlines()
    return {
        rule: " ".join(row.removeprefix(rule).split()) for rule in DRIVER_RULES for row in rows if row.startswith(rule)
    }


def test_check_of_a_new_package_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(new.write_package("acme_psu", folder=str(tmp_path)))
    with forgotten_drivers():
        assert main(["check", "acme_psu"]) == 0
    found = table(capsys)
    assert found.keys() == DRIVER_RULES.keys()
    assert all(row.endswith(" ok") for row in found.values()), found


def test_check_shows_each_finding_and_its_exit_code_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(write(tmp_path, {"meter.py": BAD}))
    monkeypatch.setenv("COLUMNS", "200")
    with forgotten_drivers():
        assert main(["check", "meter.py"]) == 1
        found = table(capsys)
        assert found["units"].startswith("1 found Meter.voltage: ")
        assert found["docs"].split()[1] == "found"
        assert found["opening"].endswith(" ok")
        assert main(["check", "meter", "--skip", "units", "--skip", "docs"]) == 0
        assert table(capsys)["units"] == "not checked it was skipped"


def test_check_prints_a_table_for_each_driver_of_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "inspect_driver", lambda driver, **given: DriverReport(f"{driver.__name__} {given}"))
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["check", "tests.support.oven_driver", "--skip", "docs"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if ":" in line]
    assert lines == [f"{name} {{'skip': ['docs']}}: no findings" for name in ("Oven", "Stove", "Grill")]


def test_check_says_what_it_checks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["check", "--rules"]) == 0
    assert table(capsys) == DRIVER_RULES


def test_check_says_once_why_nothing_could_be_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "the oven is cold, and nobody has the key"
    reasons = {"opening": why + "s", "reading": why + "s", "limits": "skipped", "silence": "skipped"}
    report = DriverReport("Oven", not_checked=reasons)
    monkeypatch.setattr(check, "inspect_driver", lambda driver, **given: report)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["check", "tests.support.oven_driver:Oven"]) == 0
    found = table(capsys)
    assert [found[rule] for rule in reasons] == [
        *(f"not checked {why}s", "not checked as above", "not checked skipped", "not checked skipped"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name the driver to check, such as acme_psu:AcmePsu"),
        (["tests.support.oven_driver:Oven", "--skip", "unit"], "did you mean 'units'?"),
        (["no_such_module"], "no module 'no_such_module'"),
    ],
)
def test_check_says_what_is_wrong(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_constructor_arguments_are_literals_or_texts() -> None:
    given = ["a=2", "b='2'", "c=None", "d=[1, 2.5]", "e=left", "f=", "g=a=b"]
    assert constructor_arguments(given) == {
        "a": 2, "b": "2", "c": None, "d": [1, 2.5], "e": "left", "f": "", "g": "a=b",
    }  # fmt: skip
    assert constructor_arguments(["kitchen=ours"], Oven) == {"kitchen": "ours"}
    with pytest.raises(QMI_UsageException, match="Oven takes no argument 'cellar'; it takes transport, kitchen"):
        constructor_arguments(["cellar=2"], Oven)

    class Needy(Oven):
        def __init__(self, context: object, name: str, transport: str, level: int, **more: int) -> None:
            raise AssertionError

    assert constructor_arguments(["level=2", "more=3"], Needy) == {"level": 2, "more": 3}
    with pytest.raises(QMI_UsageException, match="Needy needs the argument 'level': give it by --with level=VALUE"):
        constructor_arguments([], Needy)
