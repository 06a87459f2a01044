"""The command that fetches drivers, lists and removes them."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import qmi.drivers.store as store_module
from qmi.drivers.search import user_folder
from qmi.tools.drivers import main
from tests.support.driver_folders import add_entry_point, forgotten_drivers, write
from tests.support.wheels import make_wheel

FILES = {
    "qmi/__init__.py": "raise AssertionError",
    "qmi/core/rpc.py": "raise AssertionError",
    "qmi/instruments/__init__.py": "raise AssertionError",
    "qmi/instruments/acme/__init__.py": "from qmi.instruments.acme.laser import Laser",
    "qmi/instruments/acme/laser.py": "import no_such_library\nfrom qmi.utils.one import A\nLaser = A",
    "qmi/instruments/acme/settings.json": "{}",
    "qmi/instruments/acme/old.py": "print 'for Python 2'",
    "qmi/instruments/acme/__pycache__/laser.pyc": "",
    "qmi/instruments/single.py": "from ..utils import three",
    "qmi/instruments/dummy/noisy_sine_generator.py": "raise AssertionError",
    "qmi/utils/__init__.py": "raise AssertionError",
    "qmi/utils/one.py": "from . import two\nimport qmi.utils.context_managers\nA = two.A",
    "qmi/utils/two/__init__.py": "A = 'laser'",
    "qmi/utils/two/table.txt": "",
    "qmi/utils/three.py": "",
    "qmi/utils/context_managers.py": "raise AssertionError",
    "qmi/utils/unused.py": "",
    "acme_drivers-1.0.dist-info/licenses/LICENSE.md": "Do as you like.",
}
TAKEN = {
    *("qmi/instruments/acme/__init__.py", "qmi/instruments/acme/laser.py", "qmi/instruments/acme/settings.json"),
    *("qmi/instruments/acme/old.py", "qmi/instruments/single.py"),
    *("qmi/utils/one.py", "qmi/utils/two/__init__.py", "qmi/utils/two/table.txt", "qmi/utils/three.py"),
    *("licences/LICENSE.md", "drivers.json"),
}


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("QMI_DRIVERS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with forgotten_drivers():
        yield


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code
    shown = capsys.readouterr()
    assert bool(shown.err) == bool(code)
    return shown.out + shown.err


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_drivers_and_what_they_import_are_taken_and_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run(capsys, "add", str(make_wheel(tmp_path, FILES)))
    folder = Path(user_folder()) / "acme-drivers"
    assert files_in(folder) == TAKEN
    assert f"acme-drivers 1.0: drivers of 2 packages are in {folder}" in shown
    assert str(folder / "licences" / "LICENSE.md") in shown
    assert "Not taken, since this library has its own: qmi.instruments.dummy.noisy_sine_generator, " in shown
    assert "not installed here: no_such_library\n" in shown
    assert re.search(r"^  no_such_library \(.*\) is needed by acme\.laser$", shown, re.MULTILINE)
    assert "QMI_DRIVERS" not in shown
    write(tmp_path, {"no_such_library.py": ""})
    monkeypatch.syspath_prepend(str(tmp_path))
    assert importlib.import_module("qmi.instruments.acme").Laser == "laser"
    importlib.import_module("qmi.instruments.single")


@pytest.mark.parametrize(
    ("library", "package"),
    [("usb", "pyusb"), ("serial", "pyserial"), ("vxi11", "python-vxi11"), ("nidaqmx", "nidaqmx")],
)
def test_missing_library_is_shown_with_its_name_for_pip(
    library: str, package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"qmi/instruments/acme/a.py": f"import {library}.core", "qmi/instruments/b.py": f"import {library}"}
    monkeypatch.setattr("qmi.drivers.wheels.find_spec", lambda name: None)
    shown = run(capsys, "add", str(make_wheel(tmp_path, files)))
    assert f"  {library} (pip install {package}) is needed by acme.a, b\n" in shown


def test_all_helpers_are_taken_if_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "add", "--utils", str(make_wheel(tmp_path, FILES)))
    assert files_in(Path(user_folder()) / "acme-drivers") == {*TAKEN, "qmi/utils/unused.py"}


@pytest.mark.parametrize("part", ["purelib", "platlib"])
def test_drivers_in_the_data_part_of_a_wheel_are_taken(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "add", str(make_wheel(tmp_path, {f"acme_drivers-1.0.data/{part}/qmi/instruments/acme/a.py": ""})))
    assert (Path(user_folder()) / "acme-drivers/qmi/instruments/acme/a.py").is_file()


def test_another_version_takes_the_place_of_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "add", str(make_wheel(tmp_path, FILES)))
    new = make_wheel(tmp_path, {"qmi/instruments/beta/pump.py": ""}, "Acme.Drivers", "2.0")
    assert "has no file with one" in run(capsys, "add", str(new))
    assert files_in(Path(user_folder())) == {"acme-drivers/drivers.json", "acme-drivers/qmi/instruments/beta/pump.py"}
    assert "Acme.Drivers 2.0: beta" in run(capsys, "list")


def test_failed_replacement_leaves_what_was_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(tmp_path, FILES)
    run(capsys, "add", str(wheel))

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    shown = run(capsys, "add", str(wheel), code=1)
    assert shown.startswith("error: The drivers cannot be written to ")
    assert "No space left on device" in shown
    assert {"acme-drivers/" + path for path in TAKEN} == files_in(Path(user_folder()))


def test_list_names_what_was_fetched_and_every_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"Fetched drivers in {user_folder()}: none\n" in run(capsys, "list")
    run(capsys, "add", str(make_wheel(tmp_path, FILES)))
    lab = write(tmp_path / "lab", {"qmi/instruments/acme/laser.py": ""})
    monkeypatch.setenv("QMI_DRIVERS", os.pathsep.join([str(lab), str(tmp_path / "gone")]))
    monkeypatch.syspath_prepend(str(add_entry_point(tmp_path / "site", "gamma = gamma_lab")))
    shown = run(capsys, "list", "--modules")
    assert "  acme-drivers 1.0: acme, single\n" in shown
    assert f"  2. {lab} ($QMI_DRIVERS)\n" in shown
    assert f"  3. {tmp_path / 'gone'} ($QMI_DRIVERS): nothing is found here, there is no such folder\n" in shown
    assert "(fetched)\n" in shown
    assert "gamma = gamma_lab" in shown
    theirs = Path(user_folder()) / "acme-drivers/qmi/instruments/acme/laser.py"
    ours = lab / "qmi/instruments/acme/laser.py"
    assert f"  qmi.instruments.acme.laser: {ours}\n" in shown
    assert f"  qmi.instruments.acme.laser: {theirs} (hidden by {ours})\n" in shown
    assert "qmi.instruments.dummy.noisy_sine_generator: " in shown


@pytest.mark.parametrize("record", [None, "{", "[]", '{"name": "acme-drivers", "more": 1}'])
def test_record_that_is_damaged_is_no_obstacle(
    record: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "add", str(make_wheel(tmp_path, FILES)))
    file = Path(user_folder()) / "acme-drivers" / "drivers.json"
    if record is None:
        file.unlink()
    else:
        file.write_text(record)
    assert "  acme-drivers ?: " in run(capsys, "list")
    assert run(capsys, "remove", "acme_drivers").startswith("acme-drivers ?: removed")


def test_remove_takes_the_drivers_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "add", str(make_wheel(tmp_path, FILES)))
    assert run(capsys, "remove", "Acme_Drivers") == f"acme-drivers 1.0: removed from {user_folder()}\n"
    assert list(Path(user_folder()).iterdir()) == []
    shown = run(capsys, "remove", "acme-drivers", code=1)
    assert shown == f"error: No drivers of 'acme-drivers' are in {user_folder()}; there is: nothing\n"


def test_other_folder_is_named_with_what_makes_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shared"
    shown = run(capsys, "--folder", str(folder), "add", str(make_wheel(tmp_path, FILES)))
    assert f"To have them found: export QMI_DRIVERS={folder / 'acme-drivers'}\n" in shown
    monkeypatch.setenv("QMI_DRIVERS", str(folder / "acme-drivers"))
    importlib.import_module("qmi.instruments.single")
    assert not Path(user_folder()).exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"acme/laser.py": ""}, "has no drivers: there is no folder qmi/instruments in it"),
        ({"qmi/instruments/__init__.py": ""}, "has no drivers"),
        ({"qmi/instruments/../../../evil.py": ""}, "which leads out of its folder"),
        ({"/qmi/instruments/evil.py": ""}, "which leads out of its folder"),
        ({"qmi/instruments/C:evil.py": ""}, "which leads out of its folder"),
        ({"other-1.0.dist-info/METADATA": ""}, "found 2"),
    ],
)
def test_wheel_that_will_not_do_is_refused(
    files: dict[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run(capsys, "add", str(make_wheel(tmp_path, files)), code=1)
    assert shown.startswith("error: ")
    assert message in shown
    assert not Path(user_folder()).exists()


@pytest.mark.parametrize("name", ["..", "/etc", "a b", ""])
def test_name_of_a_distribution_cannot_lead_elsewhere(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files = {"qmi/instruments/a.py": "", "acme_drivers-1.0.dist-info/METADATA": metadata}
    wheel = make_wheel(tmp_path, files)
    assert "has no name of a distribution" in run(capsys, "add", str(wheel), code=1)


def test_file_that_is_no_wheel_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"bad.whl": "no zip file"})
    assert "cannot be read as a wheel" in run(capsys, "add", str(tmp_path / "bad.whl"), code=1)
    assert "There is no file" in run(capsys, "add", str(tmp_path / "missing.whl"), code=1)


@pytest.mark.parametrize("arguments", [[], ["add"], ["remove"], ["frobnicate"], ["list", "--all"]])
def test_wrong_command_line_ends_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage: python -m qmi.tools.drivers" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["add", "--help"]])
def test_help_ends_with_code_0(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "qmi==0.54.2" in run(capsys, *arguments) or arguments == ["--help"]


@pytest.mark.parametrize("requirement", ["--index-url=http://elsewhere", "-r"])
def test_option_of_pip_is_no_requirement(requirement: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(capsys, "add", "--", requirement, code=1)
    assert f"Expected the name of a distribution such as qmi==0.54.2, found {requirement!r}" in shown


def test_drivers_command_without_pip_names_the_way_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "find_spec", lambda name: None)
    assert "-m ensurepip" in run(capsys, "add", "qmi", code=1)


def test_drivers_command_shows_the_output_of_pip_without_escapes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        assert command[1:4] == ["-m", "pip", "wheel"]
        assert command[-1] == "nobody==1.0"
        return subprocess.CompletedProcess(command, 1, "", "\n".join([*"0123456789", "\x1b[31mno such distribution"]))

    monkeypatch.setattr(subprocess, "run", fail)
    shown = run(capsys, "add", "nobody==1.0", code=1)
    assert shown.startswith("error: pip could not fetch 'nobody==1.0':\n  3\n")
    assert "\x1b" not in shown


def test_interrupted_fetch_changes_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(command: list[str], **options: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "run", interrupted)
    assert run(capsys, "add", "nobody==1.0", code=130) == "interrupted\n"
    assert not Path(user_folder()).exists()


@pytest.mark.slow
def test_distribution_is_fetched_by_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(tmp_path, FILES)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    command = [sys.executable, "-m", "qmi.tools.drivers", "add"]
    done = subprocess.run([*command, "acme_drivers==1.0"], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((Path(user_folder()) / "acme-drivers" / "drivers.json").read_text())
    assert record["requirement"] == "acme_drivers==1.0"
    done = subprocess.run([*command, "acme_drivers==2.0"], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert "acme_drivers==2.0" in done.stderr
