"""The default context of a program, and the functions that use it, for scripts and tests that reach for them here.

``_qmi_context`` is the default context itself, or None: tests put one of their own there for a while.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import qmi
from qmi import *  # noqa: F403 - the functions of the package, as it lists them
from qmi import context
from qmi.config.loader import load_config as _load_config
from qmi.config.schema import CfgQmi
from qmi.contexts import default as session

__all__ = ["create_config_from_file"]
__all__ += qmi.__all__

if TYPE_CHECKING:
    from qmi.contexts.blocking_context import QMI_Context

    _qmi_context: QMI_Context | None


def create_config_from_file(config_file: str | None) -> CfgQmi:
    """Find, read and check the configuration, as :func:`qmi.start` does.

    Args:
        config_file: The configuration file; "" looks at ``$QMI_CONFIG`` and then for ``qmi.conf`` in the home
            directory, None uses no file.

    Raises:
        QMI_ConfigurationException: If it is not usable; all faults are listed.
    """
    return _load_config(config_file)


def _connect_to_peers() -> None:
    """Connect the default context to the peers that its configuration names, unless it is connected already."""
    default = context()
    for name in default.get_context_config().connect_to_peers:
        default.connect_to_peer(name, ignore_duplicate=True)


def _clear_global_context() -> None:
    """Forget the default context, whether it runs or not."""
    session.set_default(None)


class _Module(ModuleType):
    """This module: its ``_qmi_context`` is where those functions look."""

    _is_deleted = False

    @property
    def _qmi_context(self) -> QMI_Context | None:
        if self._is_deleted:
            raise AttributeError("_qmi_context")
        return session.get_default()

    @_qmi_context.setter
    def _qmi_context(self, value: QMI_Context | None) -> None:
        self._is_deleted = False
        session.set_default(value)

    @_qmi_context.deleter
    def _qmi_context(self) -> None:
        # Those who put something here for a while delete it, and then put back what was there if that leaves nothing.
        self._is_deleted = True
        session.set_default(None)


sys.modules[__name__].__class__ = _Module
