"""Which configuration file is read, and what it takes for it to be accepted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from msgspec.structs import replace

from qmi.config.files import read_file
from qmi.config.paths import Places, place_faults
from qmi.config.schema import CfgQmi, CfgSecurity
from qmi.config.structure import report, structure
from qmi.config.validators import printable
from qmi.errors import QMI_ConfigurationException, QMI_MissingConfigurationException
from qmi.records import asdict

DEFAULT_NAME = "qmi.conf"
ANY_CERTIFICATE = "any"
"""The name of the files of a certificate for every name, instead of ``${context}``."""
_MAX_SIZE = 16 << 20


def find_config_file(config_file: str | os.PathLike[str] | None = "") -> Path | None:
    """Return the configuration file to read, or None if there is none to read.

    Args:
        config_file: Its name; "" looks at ``$QMI_CONFIG`` and then for ``qmi.conf`` in the home directory; None means
            that no file is wanted.

    Raises:
        QMI_ConfigurationException: If a file is named, by the caller or by ``$QMI_CONFIG``, but does not exist.
    """
    if config_file is None:
        return None
    if not isinstance(config_file, str | os.PathLike):
        raise QMI_ConfigurationException(
            f"The configuration file is given by its name, or as None; found {config_file!r}"
        )
    for name, origin in ((os.fspath(config_file), ""), (os.environ.get("QMI_CONFIG", ""), " (from $QMI_CONFIG)")):
        if name:
            path = _absolute(name, Path.cwd())
            if not _is_there(path, origin):
                raise QMI_MissingConfigurationException(f"The configuration file {path}{origin} does not exist")
            return path
    default = _default()
    return default if _is_there(default) else None


def _default() -> Path:
    try:
        return Path.home() / DEFAULT_NAME
    except RuntimeError as error:
        raise QMI_ConfigurationException(
            f"The home directory, where {DEFAULT_NAME} is looked for, is not known: {error}. Set $HOME or $QMI_CONFIG"
        ) from error


def _is_there(path: Path, origin: str = "") -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise QMI_ConfigurationException(
                f"The configuration file {path}{origin} is a link to {os.readlink(path)}, which does not exist"
            ) from error
        return False
    except (OSError, ValueError) as error:  # a folder that may not be searched, links in a circle, a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise QMI_ConfigurationException(
            f"The configuration file {printable(str(path))}{origin} cannot be looked for: {reason}"
        ) from error
    return True


def where_looked() -> str:
    """Which configuration files are read when none is named, and why none of them was; for a message."""
    variable = os.environ.get("QMI_CONFIG")
    default = _default()
    there = "there" if _is_there(default) else "not there"
    return f"$QMI_CONFIG ({variable or 'not set'}), {default} ({there})"


def load_config(config_file: str | os.PathLike[str] | None = "") -> CfgQmi:
    """Find, read and check the configuration; without a file, return the defaults.

    Args:
        config_file: As for :func:`find_config_file`.

    Raises:
        QMI_ConfigurationException: If a file is missing, unreadable or wrong; ``faults`` has one line for each fault.
    """
    path = find_config_file(config_file)
    if path is None:
        return CfgQmi()
    subject = f"The configuration file {path}"
    config = replace(parse_config(_read(path, subject), subject), config_file=str(path))
    if faults := place_faults(config):
        raise report(subject, faults)
    return replace(config, security=_with_full_names(config, path.parent))


def parse_config(text: str, subject: str = "The configuration") -> CfgQmi:
    """Return the configuration that a text describes.

    Args:
        text: The text of a configuration file.
        subject: What to call it in messages.

    Raises:
        QMI_ConfigurationException: If anything is wrong with it; ``faults`` has one line for each fault.
    """
    from qmi.config.parser import parse  # a program without a file needs none of it

    values = parse(text, subject)
    return structure(values, subject)


def read_config_text(path: Path, subject: str) -> str:
    """Return the text of a configuration file.

    Args:
        path: The file.
        subject: What to call it in messages.

    Raises:
        QMI_ConfigurationException: If it cannot be read, or is no UTF-8.
    """
    return _read(path, subject)


def _read(path: Path, subject: str) -> str:
    try:
        return read_file(path, _MAX_SIZE).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        fault = f"line {line}: expected UTF-8 text, found the byte 0x{error.object[error.start]:02x}"
        raise report(subject, [fault]) from None
    except FileNotFoundError as error:
        raise QMI_MissingConfigurationException(f"{subject} does not exist") from error
    except OSError as error:
        raise QMI_ConfigurationException(f"{subject} cannot be read: {error.strerror}") from error


def completed(config: CfgQmi, context_name: str) -> CfgQmi:
    """Return a copy of the configuration for one context, with the names of the files for TLS filled in.

    Where there is neither the certificate nor the key of that context, those for every name are taken, if they are
    there: ``any.pem`` for ``${context}.pem``.

    Args:
        config: The configuration.
        context_name: For ``${context}``.

    Raises:
        QMI_ConfigurationException: If a file name cannot be filled in, or a file that a configuration file names is
            not there.
    """
    faults = place_faults(config)
    if faults:
        raise report(_subject(config), faults)
    places = Places(config, context_name)
    given: Mapping[str, str | None] = asdict(config.security)
    full = {name: places.resolve(value) for name, value in given.items() if value is not None}
    if config.config_file is not None:
        others = Places(config, context_name, values={"context": ANY_CERTIFICATE})
        spare = {name: others.resolve(value) for name, value in given.items() if value is not None}
        _check_files(full := _with_spare_pair(full, spare), _subject(config), spare)
    return replace(config, security=CfgSecurity(**full))


def _with_spare_pair(full: dict[str, str], spare: Mapping[str, str]) -> dict[str, str]:
    """Take the certificate for every name where there is none for this one: commands and notebooks have many names."""
    pair = [name for name in ("certificate", "key") if name in full]
    if any(os.path.lexists(full[name]) for name in pair) or not all(os.path.isfile(spare[name]) for name in pair):
        return full
    return {**full, **{name: spare[name] for name in pair}}


def _subject(config: CfgQmi) -> str:
    return "The configuration" if config.config_file is None else f"The configuration file {config.config_file}"


def _with_full_names(config: CfgQmi, directory: Path) -> CfgSecurity:
    """Names in a file mean files beside it, wherever the program runs; all must be there before anything starts."""
    given: Mapping[str, str | None] = asdict(config.security)
    full, known = {}, {}
    for name, value in given.items():
        if value is None:
            continue
        text = Places(config, values={"context": "\x01"}).resolve(value)
        if "\x01" in text:  # known when there is a context
            full[name] = value if os.path.isabs(text) else os.path.join(_literal(directory), value)
        else:
            known[name] = str(directory / text)
            full[name] = _literal(known[name])
    _check_files(known, _subject(config))
    return CfgSecurity(**full)


def _literal(path: str | Path) -> str:
    return str(path).replace("$", "$$")


def _check_files(files: Mapping[str, str], subject: str, spare: Mapping[str, str] = MappingProxyType({})) -> None:
    missing = []
    for name, path in files.items():
        if not os.path.isfile(path):
            other = spare.get(name, path)
            nor = f", nor {other}, which is for every name ('qmi certs cert \"*\"' makes it)" if other != path else ""
            missing.append(f"security.{name}: the file {path} does not exist{nor if name == 'certificate' else ''}")
    if missing:
        raise report(subject, missing)


def _absolute(name: str, directory: Path) -> Path:
    return directory / os.path.expanduser(name)
