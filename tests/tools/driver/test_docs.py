"""The tables of a driver's page."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qmi.core.instrument import QMI_Instrument
from qmi.errors import QMI_UsageException
from qmi.tools.driver.cli import main
from qmi.tools.driver.docs import brought_up_to_date, tables_of
from qmi.tools.driver.target import find_drivers
from tests.support.driver_folders import write

DOCS = Path(__file__).parents[3] / "docs"
MARKED = [path for path in sorted(DOCS.rglob("*.md")) if "\n<!-- driver: " in path.read_text("utf-8")]
OVEN = "tests.support.oven_driver"

OHM = """
from qmi.core.driver import ScpiInstrument, parameter

class Meter(ScpiInstrument):
    r = parameter("RES?", float, unit="Ω", doc="The resistance in Ω.")
"""


@pytest.mark.parametrize(
    "line",
    [
        "| `setpoint` | float | °C | 20 to `highest` | setting | `SETP` | Temperature to reach. |",
        "| `highest` | float | °C | at most a limit of the instrument | setting | `SETP:MAX` | Highest setpoint. |",
        "| `temperature` | float | °C | | reading, every 0.5 s | `TEMP?` | Temperature inside. |",
        "| `program` | Program | | BAKE, GRILL | setting | `PROG` | |",
        "| `light` | bool | | | setting | `LIGHT:STATE?`, `LIGHT {value}` | The lamp \\| in it. |",
        "| `profile` | block of &lt;f4 | | | reading | `PROF?` | Temperatures from the bottom to the top. |",
        "| `doors` | constant, `2` |",
        "| `bake(recipe, *guests, minutes=30.0, program=Program.BAKE)` | `list[float]` | Bake something. |",
        "| `sig_ready` | `float`, `str` |",
        "Each of `shelves[n]`, with n from 1 to 3:",
        "| `shelves[n].position` | int | mm | 0 to 200, in steps of 5 | setting | `SHEL{n}:POS` | Its height. |",
        "| `shelves[n].tare()` | Take the present weight as nothing. |",
    ],
)
def test_tables_have_a_line_for_each_thing(line: str) -> None:
    text = tables_of(find_drivers(f"{OVEN}:Oven"))
    assert line in text.splitlines()


def test_tables_leave_out_what_every_driver_has() -> None:
    text = tables_of(find_drivers(f"{OVEN}:Oven"))
    assert "| `get_idn()`" not in text
    assert "As every `ScpiInstrument`, it also has `open()`, `close()`, `get_idn()`" in text
    assert "parameters()" not in text
    assert "get_setpoint" not in text


def test_tables_begin_with_what_the_driver_is() -> None:
    text = tables_of(find_drivers(f"{OVEN}:Grill"), level=3)
    assert text == (
        "### Grill\n\nA grill in the event loop.\n\n"
        "| parameter | type | unit | range | | what it is |\n| --- | --- | --- | --- | --- | --- |\n"
        "| `power` | float | W | 0 to 2000 | setting | Power of the heater. |\n\n"
        "| method | gives | what it does |\n| --- | --- | --- |\n"
        "| `turn()` | `float` | Turn it once. |\n| `smell()` | `Iterator[str]` | What one smells. |\n"
    )


def test_docs_prints_all_drivers_of_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs", OVEN]) == 0
    headings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("#")]
    assert headings == ["## Oven", "## Stove", "## Grill"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_page_is_brought_up_to_date_between_its_marks(
    newline: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    lines = ["# Ovens", "```sh", "# no heading", "```", "## Ours", "",
             f"<!-- driver: {OVEN}:Grill -->", "old", "<!-- end of driver -->", "", "Mine.", ""]  # fmt: skip
    page.write_bytes(newline.join(lines).encode())
    assert main(["docs", "--into", str(page), "--check"]) == 1
    assert "out of date; python -m qmi.tools.driver docs --into" in capsys.readouterr().out
    assert b"old" in page.read_bytes()
    assert main(["docs", "--into", str(page)]) == 0
    text = page.read_bytes().decode()
    assert ("\r\n" in text) is (newline == "\r\n")
    text = text.replace("\r\n", "\n")
    assert text.startswith("# Ovens\n```sh\n# no heading\n```\n## Ours\n\n<!-- driver: ")
    assert text.endswith("What one smells. |\n\n<!-- end of driver -->\n\nMine.\n")
    assert "\n### Grill\n" in text
    assert "old" not in text
    assert main(["docs", "--into", str(page), "--check"]) == 0
    assert brought_up_to_date(text, "page") == text


def test_page_with_several_drivers_has_them_at_one_level() -> None:
    marks = [f"<!-- driver: {OVEN}:{name} -->\n<!-- end of driver -->" for name in ("Oven", "Grill", "Stove")]
    text = brought_up_to_date("\n\n".join(["# Ovens", *marks[:2], "## More", marks[2]]), "page")
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["# Ovens", "## Oven", "## Grill", "## More", "### Stove"]
    assert brought_up_to_date(text, "page") == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name a driver, or pages with --into"),
        ([OVEN, "--into", "page.md"], "Name a driver, or pages with --into"),
        (["--into", "page.md"], "page.md"),
        (["no_such_module"], "no module 'no_such_module'"),
    ],
)
def test_docs_says_what_is_missing(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_page_without_marks_is_refused() -> None:
    with pytest.raises(
        QMI_UsageException, match="page has no place for tables: a line '<!-- driver: MODULE:CLASS -->'"
    ):
        brought_up_to_date("# Ovens\n", "page")


@pytest.mark.parametrize("page", MARKED, ids=lambda page: page.stem)
def test_pages_of_this_library_are_up_to_date(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCS.parent)
    text = page.read_text("utf-8")
    name = page.relative_to(DOCS.parent).as_posix()
    assert brought_up_to_date(text, name) == text, f"python -m qmi.tools.driver docs --into {name}"


def test_every_driver_of_this_library_has_tables() -> None:
    import qmi.instruments

    text = (DOCS / "reference" / "drivers.md").read_text("utf-8")
    for found in pkgutil.walk_packages(qmi.instruments.__path__[:1], "qmi.instruments."):
        module = importlib.import_module(found.name)
        drivers = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, QMI_Instrument) and value.__module__ == found.name
        ]
        for driver in drivers:
            name = driver.__name__
            assert name.startswith("_") or re.search(rf"^## {name}$|^`{name}`", text, re.MULTILINE), driver


@pytest.mark.slow
def test_docs_and_stubs_are_utf8_in_a_pipe_on_every_system(tmp_path: Path) -> None:
    write(tmp_path, {"meter.py": OHM})
    for command in ("docs", "stub"):
        done = subprocess.run(
            [sys.executable, "-m", "qmi.tools.driver", command, "meter"],
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=True,
            env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(DOCS.parent)},
        )
        assert "resistance in Ω" in done.stdout.decode("utf-8")
