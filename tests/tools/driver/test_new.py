"""The package of a new driver: its name, its files, and that it works."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from qmi.errors import QMI_UsageException
from qmi.tools.driver import new
from qmi.tools.driver.cli import main
from tests.support.driver_folders import add_entry_point, forgotten_drivers, write

pytest_plugins = "pytester"

ROOT = Path(__file__).parents[3]
PLUGIN = "qmi.testing.plugin"
IGNORED = "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning"
FILES = {
    *("pyproject.toml", "README.md", ".gitignore", "docs/acme_psu.md", "tests/test_driver.py"),
    *(f"acme_psu/{name}" for name in ("__init__.py", "driver.py", "enums.py", "simulator.py", "py.typed")),
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


@pytest.mark.parametrize("name", ["", "2x", "a b", "class", "_Psu", "a.B", "Simulator", "Range"])
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


def test_tests_of_a_new_package_pass(pytester: pytest.Pytester) -> None:
    folder = new.write_package("acme_psu", folder=str(pytester.path))
    os.chdir(folder)
    # Plugins of other libraries make marks when they are imported, which the settings of these tests refuse.
    result = pytester.runpytest_inprocess("--disable-plugin-autoload", "-p", PLUGIN, "-W", IGNORED)
    result.assert_outcomes(passed=5)


def run(folder: Path, *command: str | Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=280, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_new_package_is_installed_by_pip_and_found(tmp_path: Path) -> None:
    """In an environment of its own, with all that pip fetches from its index."""
    venv.create(tmp_path / "environment", with_pip=True)
    python = tmp_path / "environment" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
    run(tmp_path, *pip, ROOT)
    run(tmp_path, python, "-m", "qmi.tools.driver", "new", "acme_psu")
    folder = tmp_path / "acme_psu"
    run(folder, *pip, "-e", ".[test]")
    assert "5 passed" in run(folder, python, "-m", "pytest", "--quiet")
    # From another folder: the one with the package's folder in it, whose name could be taken for the package.
    found = run(tmp_path, python, "-c", "from qmi.instruments.acme_psu import AcmePsu; print(AcmePsu.__module__)")
    assert found == "acme_psu.driver\n"
    assert "acme_psu = acme_psu" in run(tmp_path, python, "-m", "qmi.tools.drivers", "list")
    for command in (["docs", "acme_psu"], ["stub", "acme_psu"], ["check", "acme_psu"]):
        assert "AcmePsu" in run(tmp_path, python, "-m", "qmi.tools.driver", *command)
    # And as others get it: a copy, that its own folder may be removed of.
    run(folder, *pip, "--force-reinstall", "--no-deps", ".")
    folder.rename(tmp_path / "elsewhere")
    assert run(tmp_path, python, "-c", "import acme_psu; print(acme_psu.__file__)").startswith(str(python.parents[1]))


@pytest.mark.slow
def test_new_package_has_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    folder = Path(new.write_package("acme_psu"))
    options = ("--strict", "--follow-imports=silent", "--cache-dir", tmp_path / "cache", "--config-file", os.devnull)
    run(folder, sys.executable, "-m", "mypy", *options, "-p", "acme_psu")


def test_driver_and_simulator_of_a_new_package_have_one_enumeration(tmp_path: Path) -> None:
    folder = Path(new.write_package("acme_psu")) / "acme_psu"

    def imported(file: str) -> set[str]:
        tree = ast.parse((folder / file).read_text())
        return {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}

    assert imported("driver.py") == {"qmi.core.driver", "acme_psu.enums", "acme_psu.simulator"}
    assert imported("simulator.py") == {"qmi.core.driver", "acme_psu.enums"}
    assert imported("enums.py") == {"enum"}
