"""Control laboratory equipment from Python.

A program starts a *context*, makes instruments and tasks in it and uses them through *proxies*, which work the same for
objects of this program and of others::

    import qmi
    from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator

    qmi.start("lab")
    nsg = qmi.make_instrument("nsg", NoisySineGenerator)
    print(nsg.get_sample())
    qmi.stop()

Programs that are written with trio use :func:`open_context` and ``await``.
"""

# This is the package of the distribution qmi-trio: qmi_trio_guard looks for these words.

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from qmi import _distributions  # noqa: F401 - refuses to share the package with another distribution
from qmi._version import __version__
from qmi.core import exceptions as _exceptions  # noqa: F401 - so that qmi.core.exceptions is there by "import qmi"

if TYPE_CHECKING:
    from qmi._api import *  # noqa: F403 - those of the list below, which is the only one

__all__ = [
    "__version__",
    "call",
    "context",
    "get_configured_contexts",
    "get_instrument",
    "get_rpc_object",
    "get_status",
    "get_task",
    "hosted",
    "info",
    "list_rpc_objects",
    "lock_info",
    "locked",
    "make_instrument",
    "make_rpc_object",
    "make_task",
    "open_context",
    "request_release",
    "reserve",
    "rpc_async",
    "rpc_blocking",
    "rpc_nonblocking",
    "show_contexts",
    "show_instruments",
    "show_network_contexts",
    "show_rpc_objects",
    "show_tasks",
    "start",
    "stop",
]


class _Package(ModuleType):
    """This package: importing its module ``context``, which happens late, must not hide its function ``context()``."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "context" or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


# Type checkers know the names from above; to them, this function would make any name one of the package's.
if not TYPE_CHECKING:

    def __getattr__(name):
        """Import ``qmi._api``, which has the functions and needs trio, when the first of them is asked for.

        All of the package passes through this file, also what has no use for trio: the commands, the configuration.
        """
        if name in ("load_ipython_extension", "unload_ipython_extension"):  # "%load_ext qmi" looks for them here
            from importlib import import_module

            return getattr(import_module("qmi.tools.ipython"), name)
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from qmi.runtime.gc_pause import importing

        with importing():
            from qmi import _api

        return globals().setdefault(name, getattr(_api, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
