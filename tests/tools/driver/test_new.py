"""The package of a new driver: its name, its files, and that it works."""

from __future__ import annotations

import ast
import os
import tomllib
from pathlib import Path

import pytest

from qmi.errors import QMI_UsageException
from qmi.tools.driver import new
from qmi.tools.driver.cli import main
from tests.support.driver_folders import add_entry_point, forgotten_drivers, write

FILES = {
    *("pyproject.toml", "README.md", ".gitignore", "docs/acme_psu.md", "tests/test_driver.py"),
    *(f"acme_psu/{name}" for name in ("__init__.py", "driver.py", "simulator.py", "py.typed")),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_new_writes_a_folder_and_says_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "acme_psu"]) == 0
    assert os.listdir(tmp_path) == ["acme_psu"]
    assert files_in(tmp_path / "acme_psu") == FILES
    shown = capsys.readouterr()
    assert shown.err == ""
    for words in ("cd acme_psu", "pip install -e '.[test]'", "acme_psu/driver.py", "  check acme_psu "):
        assert words in shown.out
    assert "from qmi.instruments.acme_psu import AcmePsu" in shown.out


def test_new_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    folder = Path(new.write_package("acme_psu", "Psu5"))
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == "acme-psu"
    assert project["project"]["entry-points"] == {"qmi.instruments": {"acme_psu": "acme_psu"}}
    tree = ast.parse((folder / "acme_psu" / "driver.py").read_text())
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == ["Psu5"]
    assert not [path for path in folder.rglob("*") if path.is_file() and "$" in path.read_text()]


def test_new_package_has_a_page_that_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = new.write_package("acme_psu")
    monkeypatch.chdir(folder)
    with forgotten_drivers():
        assert main(["docs", "--into", "docs/acme_psu.md", "--check"]) == 0


def test_new_goes_into_the_named_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my drivers").mkdir()
    assert main(["new", "acme_psu", "--folder", "my drivers", "--class", "Acme_Supply"]) == 0
    assert files_in(tmp_path / "my drivers" / "acme_psu") == FILES
    shown = capsys.readouterr().out
    assert "cd 'my drivers/acme_psu'" in shown
    assert "import Acme_Supply" in shown


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("acme-psu", "'acme-psu'; acme_psu would do"),
        ("acme psu", "acme_psu would do"),
        ("acme.psu", "acme_psu would do"),
        ("../acme", "; acme would do"),
        ("2d_stage", "d_stage would do"),
        ("_psu", "; psu would do"),
        ("psu_", "; psu would do"),
        ("küche", "; kuche would do"),
        ("", "got ''"),
        ("$package", "; package would do"),
        ("---", "got '---'"),
        ("class", "word of Python; such as class_driver will do"),
        ("None", "word of Python"),
        ("x" * 61, "at most 60 characters, got 61"),
        ("con", "device on Windows"),
        ("LPT1", "device on Windows"),
        ("json", "module of Python itself"),
        ("tests", "a folder of every package"),
        ("docs", "a folder of every package"),
        ("scpi", "drivers already in qmi.instruments.scpi"),
        ("dummy", "drivers already in qmi.instruments.dummy"),
        ("qmi", "a module qmi already, in "),
        ("numpy", "a module numpy already, in "),
        ("pytest", "a module pytest already, in "),
    ],
)
def test_new_refuses_a_name(name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "--", name]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert message in shown.err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["", "2x", "a b", "class", "_Psu", "a.B", "Simulator"])
def test_new_refuses_the_name_of_a_class(name: str, tmp_path: Path) -> None:
    with pytest.raises(QMI_UsageException, match=r"class must have a name|cannot be called"):
        new.write_package("acme_psu", name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_new_leaves_what_exists_alone(what: str, tmp_path: Path) -> None:
    path = tmp_path / "acme_psu"
    if what == "folder":
        path.mkdir()
    elif what == "file":
        path.write_text("mine")
    else:
        path.symlink_to("nowhere")
    with pytest.raises(QMI_UsageException, match="acme_psu exists already; choose another name, or remove it"):
        new.write_package("acme_psu")
    assert os.listdir(tmp_path) == ["acme_psu"]
    assert what != "file" or path.read_text() == "mine"


def test_new_needs_the_folder_to_put_it_into(tmp_path: Path) -> None:
    with pytest.raises(QMI_UsageException, match="no folder 'nowhere' to put the package into"):
        new.write_package("acme_psu", folder="nowhere")


def test_new_refuses_the_name_of_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(add_entry_point(tmp_path / "site", 'acme_psu = "elsewhere"')))
    with forgotten_drivers(), pytest.raises(QMI_UsageException, match=r"drivers already in qmi\.instruments\.acme_psu"):
        new.write_package("acme_psu")


def test_new_refuses_the_name_of_drivers_of_the_laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "lab", {"acme_psu/__init__.py": ""})
    monkeypatch.setenv("QMI_DRIVERS", str(tmp_path / "lab"))
    with forgotten_drivers(), pytest.raises(QMI_UsageException, match="drivers already"):
        new.write_package("acme_psu")


def test_new_leaves_nothing_where_it_cannot_write_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    assert main(["new", "acme_psu"]) == 1
    assert os.listdir(tmp_path) == []
