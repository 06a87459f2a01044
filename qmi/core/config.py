"""Reading and writing files of the kind that the configuration is: JSON with comments."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qmi.config.loader import read_config_text
from qmi.config.parser import parse
from qmi.core.exceptions import QMI_ConfigurationException

__all__ = ["dump_config_file", "dump_config_string", "load_config_file", "load_config_string"]


class _Misshapen(QMI_ConfigurationException):
    """The text is fine but describes no object."""


class _UnreadableConfiguration(QMI_ConfigurationException, json.JSONDecodeError):
    """A text that cannot be parsed; also a ``ValueError``, as :mod:`json` raises."""

    def __init__(self, error: QMI_ConfigurationException, text: str) -> None:
        Exception.__init__(self, str(error))
        self.faults: tuple[str, ...] = error.faults
        place = re.search(r"line (\d+)(?:, column (\d+))?", str(error))
        self.msg = str(error)
        self.doc = text
        self.lineno, self.colno = (int(place[1]), int(place[2] or 1)) if place else (1, 1)
        self.pos = sum(len(line) + 1 for line in text.split("\n")[: self.lineno - 1]) + self.colno - 1


def _object(values: object, subject: str) -> Mapping[str, object]:
    if not isinstance(values, Mapping):
        raise _Misshapen(f"{subject} is an object {{...}}; got {type(values).__name__}")
    return values


def load_config_string(s: str) -> dict[str, Any]:
    """The values in a text: JSON, or JSON5, with comments from ``#`` to the end of a line.

    Raises:
        QMI_ConfigurationException: If it cannot be read, a key stands twice, or it is no object ``{...}``. For a text
            that cannot be read that is a ``json.JSONDecodeError`` too.
    """
    try:
        return dict(_object(parse(s, "The configuration"), "The configuration"))
    except _Misshapen:
        raise
    except QMI_ConfigurationException as error:
        raise _UnreadableConfiguration(error, s) from error


def load_config_file(filename: str | os.PathLike[str]) -> dict[str, Any]:
    """The values in a file; see :func:`load_config_string`.

    Raises:
        QMI_ConfigurationException: If the file cannot be read, or its text is wrong. For a file that is missing that is
            a ``FileNotFoundError`` too.
    """
    path = Path(filename)
    subject = f"The configuration file {path}"
    text = read_config_text(path, subject)
    try:
        return dict(_object(parse(text, subject), subject))
    except _Misshapen:
        raise
    except QMI_ConfigurationException as error:
        raise _UnreadableConfiguration(error, text) from error


def dump_config_string(cfg: Mapping[str, object]) -> str:
    """The values as a text that :func:`load_config_string` reads."""
    return json.dumps(cfg, indent=4)


def dump_config_file(cfg: Mapping[str, object], filename: str | os.PathLike[str]) -> None:
    """Write the values to a file, which is replaced if there is one."""
    Path(filename).write_text(dump_config_string(cfg) + "\n", encoding="utf-8")
