"""Where files go: the QMI home directory, the directories for logs and data, and names with ``${...}`` in them.

One set of rules for every file name, in the configuration and in :meth:`.QMI_Context.resolve_file_name`: placeholders
and environment variables behind a dollar sign, then ``~`` and ``~user`` at the beginning. What was filled in is not
filled in again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from msgspec import Struct, field

from qmi.config.schema import CfgQmi
from qmi.errors import (
    QMI_ConfigurationException,
    QMI_Exception,
    QMI_UnknownPlaceholderException,
    QMI_UsageException,
)
from qmi.records import NamedTuple

_PLACEHOLDER = re.compile(r"\$(?:\$|\{([^{}]*)\}|([A-Za-z_][A-Za-z0-9_]*))?")
DATE_FORMAT = "%Y-%m-%d"
DATETIME_FORMAT = "%Y-%m-%dT%H-%M-%S"
PLACEHOLDERS = ("context", "qmi_home", "datastore", "config_dir", "date", "datetime")
_TIMES = ("date", "datetime")


def qmi_home_dir(config: CfgQmi, context_name: str = "") -> str:
    """Return the QMI home directory: as configured, else ``$QMI_HOME``, else the home directory of the user."""
    return Places(config, context_name).qmi_home()


def log_dir(config: CfgQmi, context_name: str = "", now: datetime | None = None) -> str:
    """Return the directory for log files: as configured, else the QMI home directory."""
    return Places(config, context_name, now).log_dir()


def datastore_dir(config: CfgQmi, context_name: str = "", now: datetime | None = None) -> str:
    """Return the directory for measured data, as configured.

    Raises:
        QMI_ConfigurationException: If none is configured.
    """
    return Places(config, context_name, now).datastore()


def config_dir(config: CfgQmi) -> str | None:
    """Return the directory that the configuration file is in; None if no file was read."""
    return None if config.config_file is None else str(Path(config.config_file).parent)


def resolve_file_name(name: str, config: CfgQmi, context_name: str, now: datetime) -> str:
    """Fill in a file name.

    Args:
        name: May contain ``${context}``, ``${qmi_home}``, ``${datastore}``, ``${config_dir}``, ``${date}``
            (``2021-11-30``), ``${datetime}`` (``2021-11-30T14-50-55``), environment variables (``$HOME``, ``${HOME}``)
            and ``$$`` for a dollar sign; ``~`` or ``~user`` at its beginning is a home directory.
        config: Tells the directories.
        context_name: Name of the context that asks.
        now: The time that date and time are taken from.

    Raises:
        QMI_UnknownPlaceholderException: If there is anything else behind a dollar sign; that is a ``KeyError`` too.
        QMI_UsageException: If there is no such user.
        QMI_ConfigurationException: If the directory for data is wanted but not configured, or that of the configuration
            file but no file was read.
    """
    if not isinstance(name, str):
        raise QMI_UsageException(f"A file name is a string; got {name!r} of type {type(name).__name__}")
    return Places(config, context_name, now).resolve(name)


class Places(Struct):
    """Fills in the file names of one configuration.

    Attributes:
        config: The configuration.
        context_name: For ``${context}``.
        now: For ``${date}`` and ``${datetime}``; None is the present time (UTC).
        values: Used instead of the real value of a placeholder.
    """

    config: CfgQmi
    context_name: str = ""
    now: datetime | None = None
    values: dict[str, str] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def resolve(self, name: str) -> str:
        """Return the file name with everything filled in; errors as of :func:`resolve_file_name`."""

        def fill(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            variable = match[1] or match[2] or ""
            if variable in PLACEHOLDERS:
                return self._value(variable)
            if variable in os.environ:
                return os.environ[variable]
            raise QMI_UnknownPlaceholderException(_complaint(name, match[0], variable))

        return _expand_user(_PLACEHOLDER.sub(fill, name))

    def _value(self, variable: str) -> str:
        if variable in self.values:
            return self.values[variable]
        now = datetime.now(UTC) if self.now is None else self.now
        known: dict[str, Callable[[], str]] = {
            "context": lambda: self.context_name,
            "qmi_home": self.qmi_home,
            "datastore": self.datastore,
            "config_dir": lambda: _known_config_dir(self.config),
            "date": lambda: now.strftime(DATE_FORMAT),
            "datetime": lambda: now.strftime(DATETIME_FORMAT),
        }
        return known[variable]()

    def _setting(self, setting: str, name: str) -> str:
        """Resolve a directory that others may refer to, and refuse one that refers to itself."""
        if setting in self._open:
            circle = " -> ".join([*self._open[self._open.index(setting) :], setting])
            raise QMI_ConfigurationException(f"{setting} refers to itself: {circle}")
        self._open.append(setting)
        try:
            return self.resolve(name)
        finally:
            self._open.pop()

    def qmi_home(self) -> str:
        """Return the QMI home directory, as a full path."""
        configured = self.config.qmi_home or os.environ.get("QMI_HOME") or "~"
        return os.path.abspath(self._setting("qmi_home", configured))

    def log_dir(self) -> str:
        """Return the directory for log files, as a full path."""
        return self._below_home("log_dir", self.config.log_dir)

    def datastore(self) -> str:
        """Return the directory for measured data, as a full path.

        Raises:
            QMI_ConfigurationException: If none is configured.
        """
        if self.config.datastore is None:
            raise QMI_ConfigurationException(
                'No directory for data is configured; write "datastore": "..." into the configuration'
            )
        return self._below_home("datastore", self.config.datastore)

    def output_dir(self) -> str:
        """Return the directory for the output of programs that ``qmi_proc`` starts, as a full path."""
        return self._below_home("output_dir", self.config.process_management.output_dir)

    def site_dir(self) -> str:
        """Return the directory where the server of a site keeps its data, as a full path."""
        return self._below_home("store_dir", self.config.site.store_dir or "site")

    def driver_folders(self) -> list[str]:
        """Return the folders that drivers are looked for in, as full paths."""
        return [self._below_home(f"drivers[{index}]", name) for index, name in enumerate(self.config.drivers)]

    def beside_config(self, name: str) -> str:
        """Return a file name with everything filled in, taken from the directory of the configuration file."""
        return os.path.join(config_dir(self.config) or "", self.resolve(name))

    def in_home(self, name: str) -> str:
        """Return a file name with everything filled in, taken from the QMI home directory."""
        return os.path.join(self.qmi_home(), self.resolve(name))

    def _below_home(self, setting: str, configured: str | None) -> str:
        if configured is None:
            return self.qmi_home()
        # Relative names are taken from the QMI home directory: programs of one configuration run in many directories.
        name = self._setting(setting, configured)
        if os.path.isabs(name):
            return os.path.normpath(name)
        if setting in self._open or "qmi_home" in self._open:
            # ${datastore} in qmi_home, where the datastore itself is in the home directory.
            raise QMI_ConfigurationException(f"qmi_home refers to itself: qmi_home -> {setting} -> qmi_home")
        return os.path.normpath(os.path.join(self.qmi_home(), name))


class _Named(NamedTuple):
    """A setting that holds a file name."""

    path: str
    context: str
    check: Callable[[Places], object]


def place_faults(config: CfgQmi) -> list[str]:
    """Return one line for each file name of a configuration that cannot be filled in, with the path of its setting."""
    faults = []
    for named in _file_names(config):
        try:
            named.check(Places(config, named.context))
        except QMI_Exception as error:
            faults.append(f"{named.path}: {error}")
    return faults


def _file_names(config: CfgQmi) -> Iterator[_Named]:
    home = "qmi_home" if config.qmi_home is not None else "$QMI_HOME"
    security = config.security
    given: list[tuple[str, str | None, Callable[[Places], object] | None]] = [
        (home, config.qmi_home or os.environ.get("QMI_HOME"), _check_home),
        ("log_dir", config.log_dir, Places.log_dir),
        ("datastore", config.datastore, Places.datastore),
        ("logging.logfile", config.logging.logfile, None),
        ("process_management.output_dir", config.process_management.output_dir, Places.output_dir),
        ("site.store_dir", config.site.store_dir, Places.site_dir),
        ("security.ca", security.ca, None),
        ("security.certificate", security.certificate, None),
        ("security.key", security.key, None),
        ("security.revoked", security.revoked, None),
    ]
    for setting, text, check in given:
        if text:
            yield _Named(setting, "context", check or partial(Places.resolve, name=text))
    for index, folder in enumerate(config.drivers):
        yield _Named(f"drivers[{index}]", "context", partial(Places.resolve, name=folder))
    for context, settings in config.contexts.items():
        if settings.virtualenv_path is not None:
            check = partial(Places.resolve, name=settings.virtualenv_path)
            yield _Named(f"contexts.{context}.virtualenv_path", context, check)
        for part in (settings.python_path or "").split(os.pathsep):
            yield _Named(f"contexts.{context}.python_path", context, partial(Places.resolve, name=part))
        if settings.web is not None:
            for setting in ("users", "certificate", "key", "dashboards"):
                if name := getattr(settings.web, setting):
                    yield _Named(f"contexts.{context}.web.{setting}", context, partial(Places.resolve, name=name))


def _check_home(places: Places) -> None:
    home = places.config.qmi_home or os.environ.get("QMI_HOME") or ""
    for match in _PLACEHOLDER.finditer(home):
        if (match[1] or match[2]) in _TIMES:
            raise QMI_ConfigurationException(
                f"found {match[0]!r} in {home!r}, but what is kept in the QMI home directory has to be found again; "
                "use it in log_dir, datastore or logfile"
            )
    places.qmi_home()


def _complaint(name: str, found: str, variable: str) -> str:
    from difflib import get_close_matches  # only messages need it

    nearest = get_close_matches(variable.lower(), PLACEHOLDERS, 1)
    hint = f"did you mean ${{{nearest[0]}}}? " if nearest else ""
    known = ", ".join(f"${{{k}}}" for k in PLACEHOLDERS)
    return (
        f"Unknown {found!r} in the file name {name!r}: {hint}expected one of {known}, or an environment variable that "
        "is set, such as $HOME (a dollar sign itself is written $$)"
    )


def _known_config_dir(config: CfgQmi) -> str:
    directory = config_dir(config)
    if directory is None:
        raise QMI_ConfigurationException("${config_dir} is not known: no configuration file was read")
    return directory


def _expand_user(name: str) -> str:
    if not name.startswith("~"):
        return name
    expanded = os.path.expanduser(name)
    user = re.split(r"[/\\]", name, maxsplit=1)[0]
    if expanded.startswith("~"):
        raise QMI_UsageException(
            f"Unknown user in the file name {name!r}: {user!r} has no home directory here "
            f"(a name that begins with '~' is written './{user}')"
        )
    return expanded
