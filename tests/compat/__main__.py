"""Fetches QMI's source distribution, takes its drivers with the command of this library, and runs its driver tests.

Usage: ``python -m tests.compat [--only thorlabs,rigol] [--jobs 2] [--keep FOLDER]``

The tests are run as they are; nothing of QMI but these tests and the drivers is there. Fails if a test does not pass
that :mod:`tests.compat.known` does not list, or if fewer than :data:`NEEDED` of the whole pass.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.compat.known import BUSY, KNOWN

VERSION = "0.54.2"
ALL = 2393
NEEDED = 2385
_RUNNER = Path(__file__).with_name("one.py")
_LIMIT = 1200.0


def fetch(folder: Path) -> None:
    """Put QMI's tests into ``tests`` and its drivers into ``drivers`` of a folder."""
    requirement = f"qmi=={VERSION}"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "qmi"]
    subprocess.run([*download, "--dest", str(folder), requirement], check=True)
    with tarfile.open(folder / f"qmi-{VERSION}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    shutil.move(folder / f"qmi-{VERSION}" / "tests", folder / "tests")
    shutil.rmtree(folder / f"qmi-{VERSION}")
    tool = [sys.executable, "-m", "qmi.tools.drivers", "--folder", str(folder / "drivers")]
    subprocess.run([*tool, "add", requirement], check=True)


def modules_of(folder: Path, only: list[str]) -> list[str]:
    """The modules with tests of drivers, the largest first."""
    files = sorted((folder / "tests" / "instruments").rglob("test_*.py"), key=lambda file: -file.stat().st_size)
    names = [".".join(file.relative_to(folder).with_suffix("").parts) for file in files]
    return [name for name in names if not only or any(part in name for part in only)]


def run_module(folder: Path, module: str) -> dict[str, str]:
    """Run the tests of one module in a program of its own and return the outcome of each."""
    home = folder / "home" / module
    home.mkdir(parents=True, exist_ok=True)
    result = home / "result.json"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("QMI_")},
        "HOME": str(home),
        "QMI_DRIVERS": str(folder / "drivers" / "qmi"),
    }
    with open(home / "output.txt", "wb") as output:
        command = [sys.executable, str(_RUNNER), str(result), module]
        try:
            code = subprocess.run(
                command, cwd=folder, env=environment, stdout=output, stderr=output, timeout=_LIMIT, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    if code or not result.exists():
        return {
            module: f"the program ended with code {code}: {(home / 'output.txt').read_text(errors='replace')[-2000:]}"
        }
    outcomes: dict[str, str] = json.loads(result.read_text())
    return outcomes


def report(outcomes: dict[str, str], *, whole: bool) -> int:
    """Print what did not pass and the count; return the exit code."""
    failed = {name: text for name, text in sorted(outcomes.items()) if text != "passed"}
    passed = len(outcomes) - len(failed)
    for name, text in failed.items():
        reason = {**BUSY, **KNOWN}.get(name)
        print(f"-- {name}:", reason or f"NOT KNOWN\n{text}")
    unknown = [name for name in failed if name not in KNOWN and name not in BUSY]
    better = [name for name in KNOWN if outcomes.get(name) == "passed"]
    print(
        f"{passed} of {len(outcomes)} tests pass; {len(failed)} do not, {len(unknown)} of them without a known reason"
    )
    if better:
        print("Listed as not passing, but they do:", *better)
    if whole and len(outcomes) != ALL:
        print(f"Expected {ALL} tests")
    good = not unknown and not better and (not whole or (passed >= NEEDED and len(outcomes) == ALL))
    return 0 if good else 1


def main() -> int:
    """Carry out the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description=__doc__)
    parser.add_argument("--only", default="", help="run only modules with one of these words in their name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many programs run at the same time")
    parser.add_argument("--keep", type=Path, help="a folder to fetch into, or to use again")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="qmi-compat-") as scratch:
        folder = (given.keep or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "drivers").exists():
            fetch(folder)
        modules = modules_of(folder, [word for word in given.only.split(",") if word])
        outcomes: dict[str, str] = {}
        with ThreadPoolExecutor(given.jobs) as pool:
            for found in pool.map(lambda module: run_module(folder, module), modules):
                outcomes.update(found)
        (folder / "outcomes.json").write_text(json.dumps(outcomes, indent=1))
    return report(outcomes, whole=not given.only)


if __name__ == "__main__":
    sys.exit(main())
