"""The command line and the environment that a context's program gets."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from qmi.config.paths import Places
from qmi.config.schema import SERVE_MODULE, CfgContext, CfgQmi
from qmi.errors import QMI_ConfigurationException


class Program(Struct):
    """What to run.

    Attributes:
        arguments: The command and its arguments.
        environment: What is added to the environment.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def command(self) -> str:
        """The command as one would type it in a shell."""
        return shlex.join(self.arguments)


def program_of(name: str, context: CfgContext, config: CfgQmi, environment: Mapping[str, str]) -> Program:
    """Return what to run for a context.

    Args:
        name: Name of the context.
        context: Its configuration.
        config: The whole configuration; its file is handed on in ``QMI_CONFIG``.
        environment: The present environment, which is extended.

    Raises:
        QMI_ConfigurationException: If there is no program, or no Python where there should be one.
    """
    if context.program is None:
        raise QMI_ConfigurationException(
            f"contexts.{name}.program_module is not set, and no instruments, tasks, recordings or pages are listed: "
            "there is no program to start"
        )
    places = Places(config, name)
    # What the program prints is to be in its file at once.
    added = {"PYTHONUNBUFFERED": "1"}
    python = sys.executable
    if context.virtualenv_path:
        home = Path(places.resolve(context.virtualenv_path)).absolute()
        python = str(_python_in(name, home))
        added["VIRTUAL_ENV"] = str(home)
        added["PATH"] = os.pathsep.join([str(Path(python).parent), environment.get("PATH", os.defpath)])
    if context.python_path:
        paths = [str(Path(places.resolve(part))) for part in context.python_path.split(os.pathsep) if part]
        inherited = environment.get("PYTHONPATH")
        added["PYTHONPATH"] = os.pathsep.join(paths + ([inherited] if inherited else []))
    if config.config_file:
        added["QMI_CONFIG"] = str(Path(config.config_file).expanduser().absolute())
    # That program serves any context; others know which one they are.
    own = [name] if context.program == SERVE_MODULE else []
    return Program((python, "-m", context.program, *own, *(context.program_args or ())), added)


def _python_in(name: str, home: Path) -> Path:
    for python in (home / "bin" / "python", home / "Scripts" / "python.exe"):
        if os.access(python, os.X_OK):
            return python
    found = "there is no such directory" if not home.is_dir() else "it has no executable bin/python"
    raise QMI_ConfigurationException(
        f"contexts.{name}.virtualenv_path is {str(home)!r}, but {found}: "
        f"make it with 'python3 -m venv {shlex.quote(str(home))}', or correct the path"
    )
