"""Which driver a command line means."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmi.errors import QMI_UsageException
from qmi.tools.driver.target import find_driver, find_drivers
from tests.support.driver_folders import add_entry_point, forgotten_drivers, write

ONE = """
from qmi.core.instrument import QMI_Instrument
from qmi.core.task import QMI_Task

class Oven(QMI_Instrument):
    pass

class Control(QMI_Task):
    pass

class _Helper(QMI_Instrument):
    pass

def helper():
    pass
"""
TWO = ONE + "class Stove(Oven):\n    pass\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with forgotten_drivers():
        yield


@pytest.mark.parametrize("target", ["kitchen", "kitchen:Oven", "kitchen.py", "./kitchen.py:Oven"])
def test_target_is_a_module_or_a_file(target: str, tmp_path: Path) -> None:
    write(tmp_path, {"kitchen.py": ONE})
    assert find_driver(target).__name__ == "Oven"


def test_target_that_has_several_drivers_must_say_which(tmp_path: Path) -> None:
    write(tmp_path, {"kitchen.py": TWO})
    assert [cls.__name__ for cls in find_drivers("kitchen")] == ["Oven", "Stove"]
    assert find_driver("kitchen:Stove").__name__ == "Stove"
    with pytest.raises(QMI_UsageException, match=r"kitchen has several drivers: Oven, Stove.*kitchen:Oven"):
        find_driver("kitchen")


def test_target_may_be_a_package_that_shows_what_is_in_its_modules(tmp_path: Path) -> None:
    write(tmp_path, {"house/__init__.py": "from house.kitchen import Oven", "house/kitchen.py": ONE})
    assert find_driver("house").__module__ == "house.kitchen"
    assert find_driver("house/kitchen.py") is find_driver("house")
    assert find_driver("house/__init__.py") is find_driver("house")


def test_target_may_be_the_name_of_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = add_entry_point(tmp_path / "site", "house = house_drivers")
    write(
        site, {"house_drivers/__init__.py": "from house_drivers.kitchen import Oven", "house_drivers/kitchen.py": ONE}
    )
    monkeypatch.syspath_prepend(str(site))
    assert find_driver("qmi.instruments.house").__module__ == "house_drivers.kitchen"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing", "no module 'nothing', neither here"),
        ("house.nothing", r"no module 'house\.nothing'"),
        ("qmi.instruments.nothing", "looked for in this library"),
        ("nothing.py", "There is no file "),
        ("./kitchen", r"no module and no Python file: a file ends in \.py"),
        ("kitchen-2", "'kitchen-2' is no name of a module; expected MODULE:CLASS"),
        ("", "'' is no name of a module"),
        (":Oven", "'' is no name of a module"),
        ("kitchen:Sink", "kitchen has no class 'Sink'; drivers in it: Oven$"),
        ("kitchen:helper", "kitchen has no class 'helper'"),
        ("kitchen:", "'kitchen:' names no class after the colon"),
        ("house:Tap", "Tap of house is no driver: it must derive from QMI_Instrument.* derived from object"),
        ("house", "house has no driver, that is no class"),
        ("broken", r"broken cannot be imported: ZeroDivisionError: division by zero \(.*broken\.py, line 3\)"),
        ("wrong", r"wrong cannot be imported: SyntaxError: .*wrong\.py, line 2\)"),
        ("ends", r"ends cannot be imported: SystemExit: 3 \(.*ends\.py, line 2\)"),
        ("needs", r"needs cannot be imported: ModuleNotFoundError: No module named 'no_such_library' \(.*line 1\)"),
    ],
)
def test_target_that_names_no_driver_is_refused(target: str, message: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "kitchen.py": ONE,
            "house/__init__.py": "class Tap:\n    pass",
            "broken.py": "import json\n\n1 / 0",
            "wrong.py": "\nclass",
            "needs.py": "import no_such_library",
            "ends.py": "import sys\nsys.exit(3)",
        },
    )
    with pytest.raises(QMI_UsageException, match=message):
        find_driver(target)
    assert sys.path.count(str(tmp_path)) <= 1
