"""The types of drivers for programs that do not have them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from qmi.tools.driver.cli import main
from qmi.tools.driver.stub import stub_of
from qmi.tools.driver.target import find_drivers
from tests.support.driver_folders import forgotten_drivers, write

ROOT = Path(__file__).parents[3]
OVEN = "tests.support.oven_driver"
HANDLE = '''@rpc_method\ndef handle(self, given: Any=None, old: Any=1) -> Any:\n    """The library's."""'''
SMELL = '''def smell(self, *, rpc_timeout: float | None=None) -> AsyncIterator[str]:
    """What one smells."""'''
TAKEN = "Program | Literal['BAKE', 'GRIL']"


@pytest.fixture(scope="module")
def stub() -> str:
    return stub_of(find_drivers(OVEN), OVEN)


def body(stub: str, name: str) -> dict[str, str]:
    """What a class of the stub has, by name, each as it stands there."""
    classes = {node.name: node for node in ast.parse(stub).body if isinstance(node, ast.ClassDef)}
    return {getattr(node, "name", ""): ast.unparse(node) for node in classes[name].body}


def test_stub_has_every_class_after_those_that_it_needs(stub: str) -> None:
    classes = re.findall(r"^class (.*):$", stub, re.MULTILINE)
    assert classes == [
        *("Program(Enum)", "Recipe", "Shelf(Channel)", "Oven(QMI_Instrument)"),
        *("Stove(Oven)", "Grill(QMI_Instrument)", "AsyncParameter(Generic[_Value_co, _Given_contra])"),
        *("AsyncShelf", "AsyncOven(AsyncProxy[Oven])", "AsyncStove(AsyncOven)", "AsyncGrill(AsyncProxy[Grill])"),
    ]


def test_stub_imports_what_a_client_has(stub: str) -> None:
    imports = [node for node in ast.walk(ast.parse(stub)) if isinstance(node, ast.ImportFrom)]
    assert {str(node.module).partition(".")[0] for node in imports} <= {
        "collections",
        "dataclasses",
        "enum",
        "numpy",
        "qmi",
        "typing",
    }
    assert all(str(node.module).startswith("qmi.core.") for node in imports if str(node.module).startswith("qmi"))


@pytest.mark.parametrize(
    ("cls", "name", "text"),
    [
        ("Oven", "get_setpoint", "@rpc_method\ndef get_setpoint(self) -> float:\n    ..."),
        ("Oven", "set_program", f"@rpc_method\ndef set_program(self, value: {TAKEN}) -> None:\n    ..."),
        ("Oven", "shelves", "@property\ndef shelves(self) -> ChannelList[Shelf]:\n    ..."),
        ("Oven", "get_profile", "@rpc_method\ndef get_profile(self) -> ndarray[Any, Any]:\n    ..."),
        ("Grill", "get_power", "@rpc_method\ndef get_power(self) -> float:\n    ..."),
        ("Shelf", "tare", '@rpc_method\ndef tare(self) -> None:\n    """Take the present weight as nothing."""'),
        ("Grill", "smell", '@rpc_method\ndef smell(self) -> Iterator[str]:\n    """What one smells."""'),
        ("AsyncOven", "get_setpoint",
         "async def get_setpoint(self, *, rpc_timeout: float | None=None) -> float:\n    ..."),
        ("AsyncOven", "temperature", "@property\ndef temperature(self) -> AsyncParameter[float, Never]:\n    ..."),
        ("AsyncOven", "shelves", "@property\ndef shelves(self) -> Sequence[AsyncShelf]:\n    ..."),
        ("AsyncGrill", "smell", SMELL),
        ("Grill", "turn", '@rpc_method\ndef turn(self) -> float:\n    """Turn it once."""'),
        ("Oven", "handle", HANDLE),
    ],
)  # fmt: skip
def test_stub_has_methods_as_blocking_proxies_have_them(cls: str, name: str, text: str, stub: str) -> None:
    assert body(stub, cls)[name] == text


def test_stub_has_arguments_of_every_kind(stub: str) -> None:
    arguments = "self, recipe: Recipe, /, *guests: str, minutes: float=30.0, program: Program=..."
    assert f"def bake({arguments}) -> list[float]:" in body(stub, "Oven")["bake"]


def test_stub_has_no_setter_for_a_reading(stub: str) -> None:
    blocking = stub.partition("class AsyncParameter")[0]
    names = [node.name for node in ast.walk(ast.parse(blocking)) if isinstance(node, ast.FunctionDef)]
    assert {name for name in names if name.startswith("set_")} == {
        *("set_setpoint", "set_highest", "set_program", "set_light", "set_position", "set_power"),
    }
    assert (names.count("setpoint"), names.count("temperature")) == (2, 1)


def test_stub_of_a_derived_class_has_what_is_new(stub: str) -> None:
    assert set(body(stub, "Stove")) == {"", "__init__", "cook"}


def test_stub_of_one_class_has_all_that_the_class_has() -> None:
    alone = stub_of(find_drivers(f"{OVEN}:Stove"), OVEN)
    assert "class Stove(QMI_Instrument):" in alone
    assert {"bake", "cook", "setpoint", "shelves"} <= set(body(alone, "Stove"))


def test_stub_is_printed_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str], stub: str) -> None:
    assert main(["stub", OVEN]) == 0
    assert capsys.readouterr() == (stub, "")
    file = tmp_path / "oven.pyi"
    assert main(["stub", OVEN, "-o", str(file)]) == 0
    assert file.read_text("utf-8") == stub
    shown = capsys.readouterr().out
    assert "from oven import Oven\n" in shown
    assert main(["stub", OVEN, "-o", str(tmp_path / "nowhere" / "oven.pyi")]) == 1
    assert "nowhere" in capsys.readouterr().err


PROGRAM = """
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import qmi
from qmi.core.pubsub import QMI_SignalReceiver

if TYPE_CHECKING:
    from oven import AsyncOven, Grill, Oven, Program, Recipe, Stove

oven: Oven = qmi.get_instrument("kitchen.oven")
grill = cast("Grill", qmi.get_instrument("kitchen.grill"))
oven.setpoint = 180
reached: float = oven.temperature
again: float = oven.get_temperature(rpc_timeout=1.0)
oven.set_setpoint(200.0)
oven.program = "GRIL"
program: Program = oven.program
oven.shelves[2].position = 40
weights: list[float] = [shelf.weight for shelf in oven.shelves]
steps: Iterator[float] = oven.watch()
doors: int = oven.doors
oven.sig_ready.subscribe(QMI_SignalReceiver())
shown: list[str] = [info.unit for info in oven.parameters().values()]
oven.parameters.setpoint.set(190)
curve: list[float] = oven.bake(cast("Recipe", None), "us", minutes=20.0)
turned: float = grill.turn()
with oven, oven.locked(timeout=1.0):
    pass


def own(cls: type[Stove]) -> None:
    stove = qmi.make_instrument("stove", cls, "tcp:192.168.1.5", kitchen="mine")
    stove.cook()


async def main() -> None:
    async with qmi.open_context("client") as context:
        remote = cast("AsyncOven", await context.get_instrument("kitchen.oven"))
        reached: float = await remote.get_temperature(rpc_timeout=1.0)
        again: float = await remote.setpoint
        await remote.setpoint.set(180)
        await remote.set_program("BAKE")
        await remote.shelves[1].position.set(5)
        async for value in remote.watch():
            reached = value
        if await remote.lock(1.0):
            await remote.unlock()


remote = cast("AsyncOven", None)
"""
WRONG = [
    "oven.setpont = 5",
    "oven.setpoint = 'hot'",
    "oven.temperature = 5.0",
    "oven.program = 'FRY'",
    "oven.set_setpoint()",
    "oven.shelves[1].weight = 2.0",
    "oven.bake()",
    "text: str = oven.highest",
    "call = remote.temperature.set(5.0)",
    "call2 = remote.set_program('FRY')",
    "call3 = remote.shelves[1].positon",
    "call4 = remote.bake()",
]


def check_types(checker: str, folder: Path, *files: str) -> tuple[set[tuple[str, int]], str]:
    """Where a type checker finds errors: file and line; and all that it says."""
    if checker == "mypy":
        (folder / "mypy.ini").write_text("[mypy]\nstrict = true\nfollow_imports = silent\n")
        command = ["mypy", "--cache-dir", "cache", *files]
    else:
        (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
        command = ["basedpyright", "--pythonpath", sys.executable, *files]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=200, env=environment
    )
    found = re.finditer(r"(\w+\.pyi?):(\d+)(?::\d+)?(?: -)?:? error", done.stdout)
    return {(fault[1], int(fault[2])) for fault in found}, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("checker", ["mypy", "basedpyright"])
def test_stub_tells_type_checkers_what_a_client_may_do(checker: str, tmp_path: Path, stub: str) -> None:
    pytest.importorskip(checker)
    (tmp_path / "oven.pyi").write_text(stub, "utf-8")
    lines = PROGRAM.splitlines()
    (tmp_path / "program.py").write_text("\n".join([*lines, *WRONG]) + "\n", "utf-8")
    faults, said = check_types(checker, tmp_path, "program.py", "oven.pyi")
    first = len(lines) + 1
    assert faults == {("program.py", first + number) for number in range(len(WRONG))}, said


TYPED = """
import qmi
from typed_spectrometer import Spectrometer

spec = qmi.make_instrument("spec", Spectrometer, "tcp:192.168.1.5:1")
value: float = spec.exposure
again: float = spec.get_exposure(rpc_timeout=1.0)
spec.set_exposure(0.5)
"""
MISTYPED = [
    "spec.exposure = 'long'",
    "spec.set_exposure('long')",
    "text: str = spec.get_exposure()",
    "spec.get_exposur()",
]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("checker", ["mypy", "basedpyright"])
def test_driver_that_says_its_methods_to_type_checkers_is_checked_as_the_page_says(
    checker: str, tmp_path: Path
) -> None:
    pytest.importorskip(checker)
    page = (ROOT / "docs" / "do" / "drivers.md").read_text("utf-8")
    block = re.search(r":caption: typed_spectrometer.py\n\n(.*?)\n  ```", page, re.DOTALL)
    assert block is not None
    (tmp_path / "typed_spectrometer.py").write_text(textwrap.dedent(block[1]) + "\n", "utf-8")
    lines = TYPED.splitlines()
    (tmp_path / "program.py").write_text("\n".join([*lines, *MISTYPED]) + "\n", "utf-8")
    faults, said = check_types(checker, tmp_path, "program.py", "typed_spectrometer.py")
    assert faults == {("program.py", len(lines) + 1 + number) for number in range(len(MISTYPED))}, said


HIDING = """
from __future__ import annotations
from qmi.core.driver import ScpiInstrument, parameter, rpc_method

class Filter(ScpiInstrument):
    reserve = parameter("RMOD", int)
    list = parameter("LIST?", str)

    @rpc_method
    def call(self, names: list[int]) -> None:
        pass

    @rpc_method
    def property(self) -> list[str]:
        return []
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("checker", ["mypy", "basedpyright"])
def test_stubs_are_right_in_themselves(checker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all drivers of this library, and of one whose names hide others."""
    pytest.importorskip(checker)
    monkeypatch.chdir(write(tmp_path, {"hiding.py": HIDING}))
    packages = ("scpi", "keysight", "lakeshore", "stanford", "julabo", "dummy.noisy_sine_generator")
    files = []
    with forgotten_drivers():
        for number, name in enumerate(["hiding.py", *(f"qmi.instruments.{package}" for package in packages)]):
            files.append(f"stub{number}.pyi")
            (tmp_path / files[-1]).write_text(stub_of(find_drivers(name), name), "utf-8")
    faults, said = check_types(checker, tmp_path, *files)
    assert faults == set(), said
