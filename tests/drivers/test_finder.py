"""Drivers from elsewhere are imported as if they came with the library."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import qmi.instruments
from qmi.config.schema import CfgQmi
from qmi.contexts.blocking_context import QMI_Context
from qmi.drivers.search import driver_folders, user_folder
from tests.support.driver_folders import add_entry_point, forgotten_drivers, write

LASER = "from qmi.core.instrument import QMI_Instrument\nclass Laser(QMI_Instrument):\n    WHO = {!r}\n"


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("QMI_DRIVERS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with forgotten_drivers():
        yield


def who(module: str = "qmi.instruments.acme.laser") -> str:
    return str(importlib.import_module(module).Laser.WHO)


def acme(folder: Path, inside: str = "qmi/instruments", text: str = "", *, package: bool = True) -> Path:
    """A folder with a driver for a laser of Acme."""
    files = {f"{inside}/acme/laser.py": LASER.format(text or folder.name)}
    if package:
        files[f"{inside}/acme/__init__.py"] = ""
    return write(folder, files)


GREEDY = """
import sys
from importlib.machinery import PathFinder

class Greedy:
    def find_spec(self, name, path=None, target=None):
        return PathFinder.find_spec(name, path) if name.startswith("qmi") else None

sys.meta_path.insert(0, Greedy())
sys.path += sys.argv[1:]
import qmi.instruments.acme.laser, qmi.instruments.acme.pump
print(qmi.instruments.acme.laser.Laser.WHO)
"""


def test_folders_of_one_package_are_joined_behind_the_finder_of_a_test_runner(tmp_path: Path) -> None:
    one, two = acme(tmp_path / "one"), write(tmp_path / "two", {"qmi/instruments/acme/pump.py": ""})
    command = [sys.executable, "-c", GREEDY, str(one), str(two)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "one\n"


@pytest.mark.parametrize("package", [True, False], ids=["package", "without __init__"])
@pytest.mark.parametrize(
    "source", ["path", "path behind", "variable", "variable, instruments", "variable, bare", "fetched"]
)
def test_driver_is_found_where_it_is(
    source: str, package: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    folder = tmp_path / "there"
    if source.startswith("path"):
        acme(folder, package=package)
        sys.path.insert(len(sys.path) if "behind" in source else 0, str(folder))
    elif source == "fetched":
        acme(Path(user_folder()) / "some-drivers", text="there", package=package)
        assert user_folder().startswith(str(home))
    else:
        acme(folder, "." if source.endswith("bare") else "qmi/instruments", package=package)
        named = folder / "qmi" / "instruments" if source.endswith("instruments") else folder
        monkeypatch.setenv("QMI_DRIVERS", str(named))
    assert who() == "there"


@pytest.mark.parametrize("inside", ["qmi/instruments", "."])
@pytest.mark.parametrize("how", ["default file", "QMI_CONFIG", "context"])
def test_driver_is_found_in_the_folders_of_the_configuration(
    how: str, inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    acme(home / "lab drivers", inside, "configured")
    if how == "context":
        with QMI_Context("drivers", CfgQmi(drivers=["lab drivers"])):
            assert who() == "configured"
        return
    file = home / "qmi.conf" if how == "default file" else tmp_path / "other.conf"
    file.write_text('{"drivers": ["${qmi_home}/lab drivers"]} # a comment')
    if how == "QMI_CONFIG":
        monkeypatch.setenv("QMI_CONFIG", str(file))
    assert who() == "configured"


def test_change_of_the_configuration_is_seen_by_the_next_import(home: Path) -> None:
    (home / "qmi.conf").write_text("{}")
    with pytest.raises(ModuleNotFoundError):
        who()
    acme(home / "lab", text="lab")
    (home / "qmi.conf").write_text('{"drivers": ["lab"]}')
    assert who() == "lab"


def test_folders_of_one_package_are_joined_and_the_first_file_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    write(acme(tmp_path / "one"), {"qmi/instruments/acme/motor.py": "A = 1"})
    write(
        acme(tmp_path / "two"), {"qmi/instruments/acme/pump/__init__.py": "", "qmi/instruments/acme/pump/small.py": ""}
    )
    write(acme(tmp_path / "three"), {"qmi/instruments/acme/pump/large.py": "", "qmi/instruments/beta/x.py": ""})
    monkeypatch.setenv("QMI_DRIVERS", os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two")]))
    sys.path.append(str(tmp_path / "three"))
    assert who() == "one"
    for name in ("acme.motor", "acme.pump.small", "acme.pump.large", "beta.x"):
        importlib.import_module(f"qmi.instruments.{name}")
    found = {module.name for module in pkgutil.walk_packages(qmi.instruments.__path__, "qmi.instruments.")}
    assert {"qmi.instruments.acme.laser", "qmi.instruments.dummy.noisy_sine_generator"} <= found


@pytest.mark.parametrize("front", [True, False])
def test_driver_of_this_library_is_not_hidden_by_another_distribution(front: bool, tmp_path: Path) -> None:
    name = "dummy/noisy_sine_generator.py"
    other = write(
        acme(tmp_path / "other"),
        {
            "qmi/__init__.py": "raise AssertionError",
            "qmi/instruments/__init__.py": "raise AssertionError",
            "qmi/instruments/dummy/__init__.py": "raise AssertionError",
            f"qmi/instruments/{name}": "raise AssertionError",
            "qmi/instruments/dummy/other.py": "A = 1",
            "qmi/utils/context_managers.py": "raise AssertionError",
            "qmi/utils/other_helper.py": "A = 2",
        },
    )
    program = f"""
import qmi, sys
sys.path.insert({0 if front else 99}, {str(other)!r})
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.utils.context_managers import start_stop
from qmi.instruments.dummy.other import A
from qmi.utils.other_helper import A
import qmi.instruments.acme.laser
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


@pytest.mark.parametrize(
    ("line", "module", "real"),
    [
        ("acme = acme_lab", "acme.laser", "acme_lab.laser"),
        ("acme.laser = acme_lab.laser", "acme.laser", "acme_lab.laser"),
        ("acme = acme_lab.laser", "acme", "acme_lab.laser"),
        ("acme = acme_lab.laser:Laser", "acme", None),
    ],
)
def test_driver_is_found_by_an_entry_point(line: str, module: str, real: str | None, tmp_path: Path) -> None:
    add_entry_point(tmp_path, line)
    write(tmp_path, {"acme_lab/__init__.py": "", "acme_lab/laser.py": LASER.format("entry")})
    sys.path.append(str(tmp_path))
    found = importlib.import_module(f"qmi.instruments.{module}")
    assert found.Laser.WHO == "entry"
    own = importlib.import_module("acme_lab.laser")
    assert found.Laser is own.Laser
    assert own.__spec__ is not None
    assert own.__spec__.name == "acme_lab.laser"
    if real is not None:
        assert found is own
        importlib.reload(own)


def test_module_that_an_entry_points_package_lacks_is_missing_by_its_name(tmp_path: Path) -> None:
    add_entry_point(tmp_path, "acme = acme_lab")
    write(tmp_path, {"acme_lab/__init__.py": "", "acme_lab/broken.py": "import no_such_library"})
    sys.path.append(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'qmi\.instruments\.acme\.motor'"):
        importlib.import_module("qmi.instruments.acme.motor")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        importlib.import_module("qmi.instruments.acme.broken")


@pytest.mark.parametrize("name", ["qmi.instruments.nobody", "qmi.utils.nobody"])
def test_missing_driver_says_where_it_was_looked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    good, missing, file = tmp_path / "good", tmp_path / "missing", write(tmp_path, {"file": ""}) / "file"
    acme(good)
    monkeypatch.setenv("QMI_DRIVERS", os.pathsep.join(map(str, (good, missing, file))))
    (home / "qmi.conf").write_text('{"drivers": [1]}')
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(name)
    text = str(caught.value)
    assert caught.value.name == name
    assert text.startswith(f"No module named {name!r}. It was looked for in this library, {good}, ")
    assert f"not in {missing} (from $QMI_DRIVERS): there is no such folder" in text
    assert f"not in {file} (from $QMI_DRIVERS): it is no folder" in text
    assert "drivers[0]" in text
    option = " --utils" if "utils" in name else ""
    assert text.endswith(f"is fetched by 'python -m qmi.tools.drivers add qmi{option}'")


def test_missing_module_of_a_package_that_exists_is_pythons_own_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'qmi\.instruments\.dummy\.nobody'$"):
        importlib.import_module("qmi.instruments.dummy.nobody")
    assert importlib.util.find_spec("qmi.instruments.dummy.nobody") is None


def test_folder_that_is_named_twice_is_searched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acme(tmp_path / "one")
    (tmp_path / "link").symlink_to(tmp_path / "one")
    monkeypatch.setenv("QMI_DRIVERS", os.pathsep.join(map(str, (tmp_path / "one", tmp_path / "link", "", " "))))
    sys.path.append(str(tmp_path / "one"))
    assert [folder.path for folder in driver_folders() if folder.origin != "qmi-trio"] == [str(tmp_path / "one")]


def test_odd_entries_of_the_path_are_passed_over(tmp_path: Path) -> None:
    """In a program of its own: coverage looks at the path, too, and is less patient."""
    acme(tmp_path / "one")
    (tmp_path / "gone").mkdir()
    program = f"""
import os, pathlib, sys
import qmi.instruments
os.rmdir(os.getcwd())
sys.path[:0] = [None, 1, pathlib.Path(), b"x", "", "missing", {str(tmp_path / "one")!r}]
os.environ["QMI_DRIVERS"] = "relative"
import qmi.instruments.acme.laser
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path / "gone", check=True, timeout=30)


def test_import_of_the_library_looks_for_no_drivers() -> None:
    program = "import qmi, sys; assert 'qmi.drivers.finder' not in sys.modules; import qmi.instruments; "
    program += "assert 'importlib.metadata' not in sys.modules; assert 'qmi.config.loader' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
