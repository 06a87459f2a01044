"""What a systemd user unit for a context looks like.

Starting programs again when they fail is the service manager's work, not ours: this writes the units for it.
"""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from qmi.config.schema import CfgQmi
from qmi.errors import QMI_RuntimeException
from qmi.proc.launch import Times
from qmi.proc.program import program_of
from qmi.proc.selection import Target

_PLAIN_IN_NAME = re.compile(r"[a-zA-Z0-9_:.]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def unit_name(name: str) -> str:
    """The name of a context's unit; characters that systemd does not allow or reads as something else are escaped."""
    escaped = "".join(char if _PLAIN_IN_NAME.match(char) else f"\\x{ord(char):02x}" for char in name)
    return f"qmi-{escaped}.service"


def unit_text(
    target: Target, targets: Sequence[Target], config: CfgQmi, environment: Mapping[str, str], directory: Path
) -> str:
    """The unit of one context.

    Args:
        target: The context.
        targets: All contexts that get units: those that it connects to are started before it.
        config: The configuration.
        environment: The present environment.
        directory: Working directory of the program.

    Raises:
        QMI_ConfigurationException: If there is no program, or no Python where there should be one.
    """
    program = program_of(target.name, target.context, config, environment)
    peers = [unit_name(other.name) for other in targets if other.name in target.context.connect_to_peers]
    return "\n".join(
        [
            "[Unit]",
            f"Description=QMI context {target.name}",
            *([f"Wants={' '.join(peers)}", f"After={' '.join(peers)}"] if peers else []),
            "",
            "[Service]",
            "Type=exec",
            f"ExecStart={' '.join(_argument(word) for word in program.arguments)}",
            f"WorkingDirectory={_specifiers(str(directory))}",
            *(f"Environment={_quoted(f'{key}={value}')}" for key, value in program.environment.items()),
            "Restart=on-failure",
            "RestartSec=5",
            # The program itself, and not what it has started: drivers may need their helpers to switch things off.
            "KillMode=mixed",
            "KillSignal=SIGTERM",
            f"SuccessExitStatus={128 + signal.SIGTERM}",
            # Before that is over, the program has stopped its contexts, whatever else it does. Then comes SIGKILL.
            f"TimeoutStopSec={math.ceil(Times().fit(target.context).terminate)}",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        ]
    )


def site_unit_name(port: int) -> str:
    """The name of the unit of a server of a site."""
    return f"qmi-site-{port}.service"


def site_unit_text(server: str, command: Sequence[str], environment: Mapping[str, str], directory: Path) -> str:
    """The unit of a server of a site.

    Args:
        server: Its address.
        command: What runs it in the foreground.
        environment: What is added to the environment.
        directory: Working directory of the program.
    """
    return "\n".join(
        [
            "[Unit]",
            f"Description=Server of a QMI site at {_specifiers(server)}",
            "",
            "[Service]",
            "Type=exec",
            f"ExecStart={' '.join(map(_argument, command))}",
            f"WorkingDirectory={_specifiers(str(directory))}",
            *(f"Environment={_quoted(f'{key}={value}')}" for key, value in environment.items()),
            "Restart=on-failure",
            "RestartSec=2",
            # The command hands it on to the server, and waits until that has written what it keeps.
            "KillMode=mixed",
            "KillSignal=SIGTERM",
            f"SuccessExitStatus={128 + signal.SIGTERM}",
            "TimeoutStopSec=30",
            "LimitNOFILE=65536",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        ]
    )


def write_units(units: Mapping[str, str], directory: Path) -> list[Path]:
    """Write unit files, by name, into a directory; what is there already is replaced.

    Raises:
        QMI_RuntimeException: If one cannot be written.
    """
    paths = []
    for name, text in units.items():
        path = directory / name
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        except OSError as exc:
            raise QMI_RuntimeException(f"Cannot write the unit {path}: {exc.strerror}") from exc
        paths.append(path)
    return paths


def _argument(word: str) -> str:
    """One word of ExecStart, where ``$`` begins a variable."""
    return _quoted(word.replace("$", "$$"))


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    escaped = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", escaped)
    return f'"{_specifiers(escaped)}"'


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")
