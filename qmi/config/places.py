"""Where files go: the QMI home directory, the directories for logs and data, and names with ``${...}`` in them."""

from __future__ import annotations

import os
import re
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from qmi.config.schema import CfgQmi
from qmi.errors import QMI_ConfigurationException, QMI_UsageException

_PLACEHOLDER = re.compile(r"\$(?:\$|\{([^{}]*)\})?")
DATE_FORMAT = "%Y-%m-%d"
DATETIME_FORMAT = "%Y-%m-%dT%H-%M-%S"


def qmi_home_dir(config: CfgQmi) -> str:
    """Return the QMI home directory: as configured, else ``$QMI_HOME``, else the home directory of the user."""
    return _expanded(config.qmi_home or os.environ.get("QMI_HOME") or "~")


def log_dir(config: CfgQmi) -> str:
    """Return the directory for log files: as configured, else the QMI home directory."""
    return _place(config, config.log_dir)


def datastore_dir(config: CfgQmi) -> str:
    """Return the directory for measured data: as configured, else the QMI home directory."""
    return _place(config, config.datastore)


def config_dir(config: CfgQmi) -> str | None:
    """Return the directory that the configuration file is in; None if no file was read."""
    return None if config.config_file is None else str(Path(config.config_file).parent)


def resolve_file_name(name: str, config: CfgQmi, context_name: str, now: datetime) -> str:
    """Fill in a file name.

    Args:
        name: May contain ``${context}``, ``${qmi_home}``, ``${datastore}``, ``${config_dir}``, ``${date}``
            (``2021-11-30``), ``${datetime}`` (``2021-11-30T14-50-55``) and ``$$`` for a dollar sign.
        config: Tells the directories.
        context_name: Name of the context that asks.
        now: The time that date and time are taken from.

    Raises:
        QMI_UsageException: If there is anything else behind a dollar sign.
        QMI_ConfigurationException: If the directory of the configuration file is wanted but no file was read.
    """
    if not isinstance(name, str):
        raise QMI_UsageException(f"A file name is a string; got {name!r} of type {type(name).__name__}")
    known = {
        "context": lambda: context_name,
        "qmi_home": lambda: qmi_home_dir(config),
        "datastore": lambda: datastore_dir(config),
        "config_dir": lambda: _known_config_dir(config),
        "date": lambda: now.strftime(DATE_FORMAT),
        "datetime": lambda: now.strftime(DATETIME_FORMAT),
    }

    def fill(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[1] in known:
            return known[match[1]]()
        raise QMI_UsageException(_complaint(name, match[0], match[1] or "", list(known)))

    return _PLACEHOLDER.sub(fill, name)


def _complaint(name: str, found: str, variable: str, known: list[str]) -> str:
    nearest = get_close_matches(variable.lower(), known, 1)
    hint = f"did you mean ${{{nearest[0]}}}?" if nearest else "expected one of " + ", ".join(f"${{{k}}}" for k in known)
    return f"Unknown {found!r} in the file name {name!r}: {hint} (a dollar sign itself is written $$)"


def _known_config_dir(config: CfgQmi) -> str:
    directory = config_dir(config)
    if directory is None:
        raise QMI_ConfigurationException("${config_dir} is not known: no configuration file was read")
    return directory


def _place(config: CfgQmi, configured: str | None) -> str:
    if configured is None:
        return qmi_home_dir(config)
    # Relative names are taken from the QMI home directory: programs of one configuration run in many directories.
    return os.path.normpath(os.path.join(qmi_home_dir(config), os.path.expanduser(configured)))


def _expanded(name: str) -> str:
    return os.path.abspath(os.path.expanduser(name))
