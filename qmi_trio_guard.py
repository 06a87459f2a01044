"""Notices when Python starts that the package ``qmi`` here is not that of qmi-trio, and says so when it is imported.

``qmi_trio_guard.pth`` has this imported. Another distribution with a package ``qmi`` overwrites ``qmi/__init__.py``, so
nothing in the package itself can notice that. It takes one short read.

PYTEST_DONT_REWRITE: pytest looks for assertions in what is installed together with its plugins, and warns of modules
that it finds imported already.
"""

from __future__ import annotations

import os
import sys

_MARK = b"distribution qmi-trio"
_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = os.path.join(_HERE, "qmi")


class _Refusal:
    """Refuses to import the package."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise ImportError for the package; leave everything else to others."""
        if name == "qmi" and _HERE in {os.path.abspath(entry or ".") for entry in sys.path}:
            raise ImportError(_explanation(), name="qmi", path=_PACKAGE)


def _explanation() -> str:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("_qmi_distributions", os.path.join(_PACKAGE, "_distributions.py"))
    if spec is None or spec.loader is None or not os.path.exists(os.path.join(_PACKAGE, "_distributions.py")):
        return f"Files of qmi-trio are missing in {_PACKAGE}: 'python -m pip install --force-reinstall qmi-trio'"
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.others(_HERE)
    if not found and not os.path.exists(os.path.join(_PACKAGE, "__init__.py")):
        return (
            f"Files of qmi-trio are missing in {_PACKAGE}: another distribution with a package 'qmi' was installed and "
            "uninstalled again. The way out: 'python -m pip install --force-reinstall qmi-trio'"
        )
    text: str = module.explain(_HERE, found)
    return text


def check() -> None:
    """Look whose package it is."""
    try:
        with open(os.path.join(_PACKAGE, "__init__.py"), "rb") as file:
            intact = _MARK in file.read(2048)
    except OSError:
        intact = not os.path.isdir(_PACKAGE)  # nothing there: this is being uninstalled, or is a checkout elsewhere
    if not intact:
        sys.meta_path.insert(0, _Refusal())  # type: ignore[arg-type]


check()
