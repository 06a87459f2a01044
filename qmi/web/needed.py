"""What to do when a package is missing that the pages need."""

from __future__ import annotations

from qmi.errors import QMI_ConfigurationException


def not_installed(error: ImportError) -> QMI_ConfigurationException:
    """The error to raise for an import that has failed.

    Raises:
        ImportError: If it is a module of this library.
    """
    if (error.name or "").startswith("qmi"):
        raise error
    return QMI_ConfigurationException(f"{error.name} is not installed: pip install 'qmi-trio[web]'")
