"""Which names files and folders of data may have, on every system."""

from __future__ import annotations

import re
from datetime import datetime

_NAME = re.compile(r"[-_(),0-9A-Za-z]+")
_LABEL = re.compile(r"[-_(),.0-9A-Za-z]+")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
_EXTENSIONS = (".h5", ".hdf5")


def check_name(what: str, name: str) -> str:
    """See that a name can be part of a file name.

    Raises:
        TypeError: If it is no text.
        ValueError: If it cannot.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a text, got {name!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} becomes a file name: letters of ASCII, digits and -_(), only; got {name!r:.200}")
    if _DEVICES.fullmatch(name):
        raise ValueError(f"{what} {name!r} is no file name on Windows")
    return name


def is_label(label: str) -> bool:
    """Whether the name of a folder may end in this."""
    return isinstance(label, str) and _LABEL.fullmatch(label) is not None


def check_label(label: str) -> str:
    """See that the name of a folder may end in this.

    Raises:
        ValueError: If it may not.
    """
    if not is_label(label):
        raise ValueError(
            f"label becomes part of the name of a folder: letters of ASCII, digits and -_(),. only; got {label!r:.200}"
        )
    if label.endswith("."):
        raise ValueError(f"label must not end with a dot, which Windows drops; got {label!r}")
    return label


def check_time(what: str, text: str, layout: str, example: str) -> str:
    """See that a date or time of day is written as in names of folders, and that there is such a one.

    Raises:
        ValueError: If not.
    """
    good = isinstance(text, str) and len(text) == len(example) and text.isascii() and text.isdigit()
    try:
        if good and datetime.strptime(text, layout):
            return text
    except ValueError:
        pass
    raise ValueError(f"{what} must be {len(example)} digits such as {example!r}, got {text!r:.80}")


def split_extension(name: str) -> tuple[str, str]:
    """Split the name of an HDF5 file; the extension is "" if it is none of those of HDF5.

    Raises:
        TypeError: If it is no text.
        ValueError: If it is no file name.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a file must be a text, got {name!r}")
    extension = next((found for found in _EXTENSIONS if name.endswith(found)), "")
    stem = name.removesuffix(extension)
    check_name("the name of a file, up to .h5 or .hdf5,", stem if extension else stem.replace(".", "_"))
    return stem, extension
