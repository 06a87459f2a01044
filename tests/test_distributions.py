"""What happens when another distribution installs a package ``qmi`` into the same place."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from qmi import _distributions

ROOT = Path(__file__).parent.parent
UPSTREAM = {"qmi/__init__.py": "whose = 'upstream'\n", "qmi/core/__init__.py": "", "qmi/core/messaging.py": "x = 1\n"}


def ours() -> dict[str, str]:
    """The files that our wheel installs."""
    files = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in (ROOT / "qmi").rglob("*.py")}
    return {
        **files,
        "qmi_trio_guard.py": (ROOT / "qmi_trio_guard.py").read_text("utf-8"),
        "qmi_trio_guard.pth": "import qmi_trio_guard\n",
    }


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{file},sha256={digest},{len(text.encode())}\n"
            wheel.writestr(file, text)
        wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


class Environment:
    """A virtual environment without anything in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True, timeout=60)
        self.python = folder / "env" / "bin" / "python"

    def pip(self, *arguments: str | Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check", "-q"]
        subprocess.run([*pip, *map(str, arguments)], check=True, timeout=60, capture_output=True)

    def install(self, name: str, version: str, files: Mapping[str, str]) -> None:
        self.pip("install", "--no-index", "--no-deps", make_wheel(self.folder, name, version, files))

    def imports(self) -> str:
        """What "import qmi" says: nothing if it works."""
        run = [str(self.python), "-c", "import qmi; print(qmi.__version__)"]
        done = subprocess.run(run, capture_output=True, text=True, timeout=60, cwd=self.folder)
        return "" if done.returncode == 0 else done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("editable", [True, False])
def test_folder_of_that_name_in_the_working_directory_does_not_hide_the_package(tmp_path: Path, editable: bool) -> None:
    source = tmp_path / "checkout"
    shutil.copytree(ROOT / "qmi", source / "qmi", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "qmi_trio_guard.py"):
        shutil.copy(ROOT / name, source)
    environment = Environment(tmp_path)
    try:
        environment.pip("install", "--no-deps", *(["-e"] if editable else []), source)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"what builds packages cannot be had here: {error.stderr.decode().splitlines()[-1]}")
    (tmp_path / "qmi").mkdir()
    assert environment.imports() == ""


@pytest.mark.slow
@pytest.mark.parametrize("other", ["qmi", "labtools"])
def test_a_distribution_that_overwrites_the_package_is_noticed_and_named(tmp_path: Path, other: str) -> None:
    environment = Environment(tmp_path)
    environment.install("qmi_trio", "0.1.0", ours())
    assert environment.imports() == ""
    environment.install(other, "0.54.2", UPSTREAM)
    told = environment.imports()
    assert told.startswith(f"ImportError: The distributions qmi-trio and {other} 0.54.2 both install the package 'qmi'")
    assert f"'python -m pip uninstall -y qmi-trio {other}', then 'python -m pip install qmi-trio'" in told
    environment.pip("uninstall", "-y", other)
    assert "Files of qmi-trio are missing" in environment.imports()
    environment.pip("uninstall", "-y", "qmi-trio")
    assert "No module named 'qmi'" in environment.imports()
    environment.install("qmi_trio", "0.1.0", ours())
    assert environment.imports() == ""


@pytest.mark.slow
def test_a_distribution_that_was_there_before_is_noticed_and_named(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    environment.install("qmi", "0.54.2", UPSTREAM)
    environment.install("qmi_trio", "0.1.0", ours())
    assert environment.imports().startswith("ImportError: The distributions qmi-trio and qmi 0.54.2 both install")
    environment.pip("uninstall", "-y", "qmi-trio", "qmi")
    environment.install("qmi_trio", "0.1.0", ours())
    environment.install("qmi_plugins", "1.0", {"qmi_plugins.py": ""})  # has no package of that name
    assert environment.imports() == ""


@pytest.mark.parametrize(
    ("info", "file", "text", "found"),
    [
        ("qmi-0.54.2.dist-info", "RECORD", "qmi/__init__.py,sha256=x,1\n", ["qmi 0.54.2"]),
        ("qmi-0.54.2.dist-info", "RECORD", '"qmi/__init__.py","sha256=x",1\r\n', ["qmi 0.54.2"]),
        ("QMI_fork-1.dist-info", "RECORD", "a.py,,\nqmi/__init__.py,,\n", ["QMI-fork 1"]),
        ("qmi-0.5-py3.11.egg-info", "installed-files.txt", "../qmi/__init__.py\n", ["qmi 0.5"]),
        ("qmi.egg-info", "SOURCES.txt", "setup.py\nqmi/__init__.py\n", ["qmi"]),
        ("qmi_trio-0.1.0.dist-info", "RECORD", "qmi/__init__.py,,\n", []),
        ("qmi_extra-1.0.dist-info", "RECORD", "qmi_extra/__init__.py,,\nother_qmi/__init__.py,,\n", []),
        ("qmi-1.0.dist-info", "OTHER", "qmi/__init__.py,,\n", []),
        ("qmi-1.0", "RECORD", "qmi/__init__.py,,\n", []),
    ],
)
def test_distributions_with_the_package_are_told_from_others(
    tmp_path: Path, info: str, file: str, text: str, found: list[str]
) -> None:
    (tmp_path / info).mkdir()
    (tmp_path / info / file).write_text(text)
    assert _distributions.others(str(tmp_path), "qmi") == _distributions.others(str(tmp_path)) == found
    assert _distributions.others(str(tmp_path / "missing")) == []
    if found:
        with pytest.raises(ImportError, match=f"qmi-trio and {found[0]} both install the package 'qmi'"):
            _distributions.check(str(tmp_path))


def test_looking_for_other_distributions_takes_no_time(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"package{number}-1.0.dist-info").mkdir()
    best = 1.0
    for _ in range(20):
        began = time.perf_counter()
        _distributions.check(str(tmp_path))
        best = min(best, time.perf_counter() - began)
    assert best < 0.005
