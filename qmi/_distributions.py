"""Whether another distribution has installed a package ``qmi`` into the same place, and what to tell its user then.

Two distributions that share a package overwrite each other's files, and whichever is uninstalled takes files of the
other one along. This file is also run by itself, where the rest of the package has been overwritten: it imports
nothing of it.
"""

from __future__ import annotations

import os

OWN = "qmi-trio"
_ENDINGS = (".dist-info", ".egg-info")


def check(directory: str) -> None:
    """Refuse to share the package with a distribution whose name has ``qmi`` in it; looks at names first: 0.1 ms.

    Args:
        directory: Where the package is installed.

    Raises:
        ImportError: If there is one; the text names both and the way out.
    """
    found = others(directory, "qmi")
    if found:
        raise ImportError(explain(directory, found), name="qmi", path=directory)


def others(directory: str, part: str = "") -> list[str]:
    """Other distributions that install the package ``qmi`` here, as ``name version``.

    Args:
        directory: Where the package is installed.
        part: Only those with this in their name are looked into.
    """
    try:
        entries = os.listdir(directory)
    except OSError:  # a zip file, most likely
        return []
    found = []
    for entry in entries:
        stem, ending = os.path.splitext(entry)
        if ending in _ENDINGS and part in entry.lower():
            name, _, version = stem.partition("-")
            name = name.replace("_", "-")
            if name.lower() != OWN and _provides(os.path.join(directory, entry)):
                found.append(f"{name} {version.split('-')[0]}".strip())
    return sorted(found)


def explain(directory: str, found: list[str]) -> str:
    """What is wrong, and the way out."""
    other = " and ".join(found) or "another distribution"
    names = [name.split(" ")[0] for name in found]
    return (
        f"The distributions {OWN} and {other} both install the package 'qmi', and have overwritten each other's files "
        f"in {directory}. Only one of them can be there. The way out: "
        f"'python -m pip uninstall -y {' '.join([OWN, *names])}', "
        f"then 'python -m pip install {OWN}' (or the one that you want to keep)"
    )


def _provides(info: str) -> bool:
    for name in ("RECORD", "installed-files.txt", "SOURCES.txt"):
        try:
            with open(os.path.join(info, name), "rb") as file:
                text = file.read()
        except OSError:
            continue
        lines = (line.strip(b'" \r') for line in text.replace(b",", b"\n").split(b"\n"))
        return any(line == b"qmi/__init__.py" or line.endswith(b"/qmi/__init__.py") for line in lines)
    return False


if __name__ == "qmi._distributions":
    check(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
