"""The folder of the user's that fetched drivers are kept in: one folder for each distribution, replaced as a whole."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from qmi.config.files import make_private_dirs
from qmi.config.validators import printable_lines
from qmi.drivers.search import fetched_folders, user_folder
from qmi.drivers.wheels import Selection, select
from qmi.errors import QMI_UsageException

RECORD = "drivers.json"
_OWN = Path(__file__).parents[1]
_SHOWN_LINES = 8


@dataclass(frozen=True)
class Fetched:
    """A distribution whose drivers were fetched.

    Attributes:
        name: Of the distribution.
        version: Its version.
        requirement: What pip was asked for.
        fetched: When, as ``2026-11-30T14:50:55+00:00``.
        packages: The names below ``qmi.instruments``.
        hidden: Modules that were not taken, since this library has its own.
        missing_for: Packages that some drivers import and that were not installed, each with these drivers.
        folder: Where it is.
    """

    name: str
    version: str
    requirement: str = ""
    fetched: str = ""
    packages: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    missing_for: dict[str, list[str]] = field(default_factory=dict)
    folder: str = ""

    def licences(self) -> list[str]:
        """The files with the licence that its drivers are used under."""
        folder = os.path.join(self.folder, "licences")
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder))] if os.path.isdir(folder) else []


class DriverStore:
    """Adds, lists and removes fetched drivers.

    Args:
        folder: Where they are kept; None is :func:`.user_folder`, which is searched without further settings.
        build_wheel: Gets a requirement and a folder, and puts the wheel of that distribution into it.
    """

    def __init__(self, folder: str | None = None, build_wheel: Callable[[str, Path], None] | None = None) -> None:
        self.folder: Path = Path(os.path.abspath(os.path.expanduser(folder or user_folder())))
        self._build_wheel = wheel_by_pip if build_wheel is None else build_wheel

    def add(self, requirement: str, *, all_utils: bool = False) -> Fetched:
        """Fetch a distribution and take its drivers; one of the same name is replaced.

        Args:
            requirement: What pip knows it by (``qmi==0.54.2``), or the file of a wheel.
            all_utils: Whether all of its ``qmi/utils`` is taken, too, and not only what its drivers import.

        Raises:
            QMI_UsageException: If it cannot be fetched, or has no drivers; what was there stays.
        """
        with TemporaryDirectory(prefix="qmi-drivers-") as scratch:
            chosen = select(self._wheel_of(requirement, Path(scratch)), _OWN, all_utils=all_utils)
        target = self.folder / _folder_name(chosen.name)
        fetched = Fetched(
            name=chosen.name,
            version=chosen.version,
            requirement=requirement,
            fetched=datetime.now(UTC).isoformat(timespec="seconds"),
            packages=chosen.packages(),
            hidden=chosen.hidden,
            missing_for=chosen.missing,
            folder=str(target),
        )
        try:
            self._write(target, chosen, fetched)
        except OSError as error:
            raise QMI_UsageException(f"The drivers cannot be written to {target}: {error.strerror or error}") from error
        return fetched

    def _wheel_of(self, requirement: str, scratch: Path) -> Path:
        path = Path(os.path.expanduser(requirement))
        if path.suffix == ".whl":
            if not path.is_file():
                raise QMI_UsageException(f"There is no file {path}")
            return path
        self._build_wheel(requirement, scratch)
        wheels = sorted(scratch.glob("*.whl"))
        if len(wheels) != 1:
            raise QMI_UsageException(f"Expected one wheel of {requirement!r} from pip, found {len(wheels)}")
        return wheels[0]

    def _write(self, target: Path, chosen: Selection, fetched: Fetched) -> None:
        make_private_dirs(self.folder)
        # Whoever imports drivers at the same time sees the old ones or the new ones, and for a moment none.
        new = Path(mkdtemp(prefix=".new-", dir=self.folder))
        try:
            for path, data in {**chosen.files, **chosen.licences}.items():
                file = new / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            (new / RECORD).write_text(json.dumps(asdict(fetched), indent=2) + "\n", encoding="utf-8")
            self._discard(target)
            new.rename(target)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def _discard(self, target: Path) -> None:
        if target.exists():
            old = Path(mkdtemp(prefix=".old-", dir=self.folder))
            target.rename(old / target.name)
            shutil.rmtree(old, ignore_errors=True)

    def fetched(self) -> list[Fetched]:
        """All that was fetched, by name."""
        return [_read_record(Path(folder)) for folder in fetched_folders(str(self.folder))]

    def remove(self, name: str) -> Fetched:
        """Remove the drivers of a distribution.

        Args:
            name: Its name, written as pip takes it: ``my_drivers`` is ``My.Drivers``.

        Raises:
            QMI_UsageException: If nothing of that name was fetched, or it cannot be removed.
        """
        there = {_folder_name(item.name): item for item in self.fetched()}
        found = there.get(_folder_name(name))
        if found is None:
            names = ", ".join(item.name for item in there.values()) or "nothing"
            raise QMI_UsageException(f"No drivers of {name!r} are in {self.folder}; there is: {names}")
        try:
            self._discard(Path(found.folder))
        except OSError as error:
            raise QMI_UsageException(f"{found.folder} cannot be removed: {error.strerror or error}") from error
        return found


def _folder_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _read_record(folder: Path) -> Fetched:
    """What is recorded of fetched drivers; a record that is damaged still tells where they are."""
    try:
        values = json.loads((folder / RECORD).read_text("utf-8"))
        known = {key: values[key] for key in Fetched.__dataclass_fields__ if key in values}
        return Fetched(**{"name": folder.name, "version": "?", **known, "folder": str(folder)})
    except (OSError, ValueError, TypeError):
        packages = sorted(path.stem for path in (folder / "qmi" / "instruments").iterdir())
        return Fetched(folder.name, "?", packages=packages, folder=str(folder))


def wheel_by_pip(requirement: str, folder: Path) -> None:
    """Have pip make or fetch the wheel of a distribution, without those that it depends on.

    Args:
        requirement: As pip knows it.
        folder: Where the wheel goes.

    Raises:
        QMI_UsageException: If that fails, with what pip said.
    """
    if requirement.startswith("-"):
        raise QMI_UsageException(f"Expected the name of a distribution such as qmi==0.54.2, found {requirement!r}")
    if find_spec("pip") is None:
        raise QMI_UsageException(
            f"pip fetches the drivers, and is not installed for {sys.executable}: run "
            f"'{sys.executable} -m ensurepip', or fetch the wheel yourself and name its file"
        )
    options = ["--no-deps", "--disable-pip-version-check", "--no-input", "--quiet", "--wheel-dir", str(folder)]
    _run([sys.executable, "-m", "pip", "wheel", *options, requirement], requirement)


def _run(command: Sequence[str], requirement: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = [line for line in printable_lines(done.stderr or done.stdout).splitlines() if line.strip()]
        said = "\n  ".join(lines[-_SHOWN_LINES:])
        raise QMI_UsageException(f"pip could not fetch {requirement!r}:\n  {said}")
