"""What is built from the sources is complete, and works where there is nothing but what it says that it needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LIMIT = 120
OUTSIDE = {"qmi_trio_guard.py", "qmi_trio_guard.pth"}
"""What is installed beside the package."""


def run(directory: Path, *command: str | Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=directory, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, without what is not needed to build them."""
    copy = tmp_path_factory.mktemp("sources") / "qmi-trio"
    copy.mkdir()
    for name in ("pyproject.toml", "setup.py", "qmi_trio_guard.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("qmi", "examples"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    # An earlier build, of a version that had one more module.
    former = copy / "build" / "lib" / "qmi"
    former.mkdir(parents=True)
    (former / "former.py").write_text("")
    return copy


@pytest.fixture(scope="module")
def wheel(sources: Path) -> Path:
    """The built wheel."""
    offline = ("--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check")
    run(sources, sys.executable, "-m", "pip", "wheel", "--quiet", *offline, "--wheel-dir", sources.parent, ".")
    (found,) = sources.parent.glob("*.whl")
    return found


def needed(name: str, seen: dict[str, Distribution]) -> None:
    """A distribution, and all that it needs."""
    if name in seen:
        return
    seen[name] = distribution(name)
    for text in seen[name].requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed(re.sub(r"[-_.]+", "-", requirement.name).lower(), seen)


def link(found: Distribution, site: Path) -> None:
    """Have a distribution of this environment in another one, without fetching it."""
    for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
        if not (site / top).exists():
            os.symlink(Path(str(found.locate_file(top))), site / top)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """An environment that has only what this project says that it needs, and what builds it."""
    path = tmp_path / "environment"
    venv.create(path, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(path), "platbase": str(path)}))
    seen: dict[str, Distribution] = {}
    for requirement in map(Requirement, [*PROJECT["dependencies"], "pip", "setuptools"]):
        if requirement.marker is None or requirement.marker.evaluate():
            needed(requirement.name, seen)
    for found in seen.values():
        link(found, site)
    return path


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
        guard = file.read("qmi_trio_guard.pth")
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "qmi").rglob("*.py")} | {"qmi/py.typed"}
    web = ROOT / "qmi" / "web"
    pages = {path.relative_to(ROOT).as_posix() for part in ("static", "templates") for path in (web / part).iterdir()}
    assert names == package | pages | OUTSIDE
    assert guard == b"import qmi_trio_guard\n"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", ["wheel", "sources"])
def test_installed_package_works_in_an_empty_environment(
    what: str, wheel: Path, sources: Path, empty: Path, home: Path
) -> None:
    binaries = empty / ("Scripts" if os.name == "nt" else "bin")
    python = binaries / "python"
    offline = ("--no-index", "--no-build-isolation", "--disable-pip-version-check")
    run(sources, python, "-m", "pip", "install", "--quiet", *offline, wheel if what == "wheel" else ".")
    assert "No broken requirements" in run(home, python, "-m", "pip", "check")
    where = run(
        home, python, "-c", "import qmi; print(qmi.__file__); import sys; assert 'qmi_trio_guard' in sys.modules"
    )
    assert Path(where.strip()).is_relative_to(empty)
    assert "usage: qmi_proc" in run(home, binaries / "qmi_proc", "--help")
    assert "1000 samples" in run(home, python, "-m", "qmi.tools.demo", "one-program")
    # Without numpy and the like, which are not needed.
    assert "given up" in run(home, python, sources / "examples" / "trio_program.py")


def test_extras_are_listed_with_what_they_install() -> None:
    page = (ROOT / "docs" / "do" / "install.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (.*?) \|$", page, re.MULTILINE))
    assert set(rows) == set(PROJECT["optional-dependencies"])
    for extra, packages in PROJECT["optional-dependencies"].items():
        if len(packages) <= 4:  # of the long ones the table says what they are for
            assert all(Requirement(text).name in rows[extra] for text in packages)


def test_systems_of_the_classifiers_are_those_whose_types_are_checked() -> None:
    classifiers = {text.rpartition(" :: ")[2] for text in PROJECT["classifiers"] if text.startswith("Operating System")}
    assert classifiers == {"Linux", "MacOS", "Windows"}
    recipe = (ROOT / "Makefile").read_text("utf-8")
    for platform in ("win32", "darwin"):
        assert f"$(BIN)/mypy --platform {platform} --cache-dir .mypy_cache/{platform} qmi\n" in recipe
