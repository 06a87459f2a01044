"""The functions of ``import qmi``: each does something with the context of the code that calls.

They are the package's own functions to everybody who uses them, and ``qmi/__init__.py`` lists their names. They have a
module of their own because they need actors and trio; that file runs when any
part of the package is imported, and needs neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload

from qmi.actors.rpc_object import QMI_RpcObject
from qmi.actors.tasks.restart import RestartRule
from qmi.actors.tasks.runner import TR, QMI_TaskRunner
from qmi.actors.tasks.task import QMI_Task
from qmi.actors.views import call as call
from qmi.actors.views import lock_info as lock_info
from qmi.actors.views import locked as locked
from qmi.actors.views import request_release as request_release
from qmi.actors.views import reserve as reserve
from qmi.actors.views import rpc_async as rpc_async
from qmi.actors.views import rpc_blocking as rpc_blocking
from qmi.actors.views import rpc_nonblocking as rpc_nonblocking
from qmi.contexts.default import context as context
from qmi.contexts.default import open_context as open_context
from qmi.contexts.default import start as start
from qmi.contexts.default import stop as stop
from qmi.errors import QMI_NoActiveContextException

if TYPE_CHECKING:
    from qmi.actors.context_status import ContextStatus
    from qmi.config.schema import CfgContext
    from qmi.contexts.blocking_context import QMI_Context
    from qmi.contexts.tables import InfoText
    from qmi.hosting import Adapter, HostedInstrument
    from qmi.simulation.simulator import Simulator

_P = ParamSpec("_P")
_T = TypeVar("_T", bound=QMI_RpcObject)


@overload
def make_rpc_object(
    rpc_object_name: str, rpc_object_class: Callable[..., _T], *args: object, replace: bool, **kwargs: object
) -> _T: ...
@overload
def make_rpc_object(
    rpc_object_name: str,
    rpc_object_class: Callable[Concatenate[QMI_Context, str, _P], _T],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _T: ...
def make_rpc_object(
    rpc_object_name: str,
    rpc_object_class: Callable[Concatenate[QMI_Context, str, _P], _T],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _T:
    """Make an object in the context and return a proxy of it; see :meth:`.QMI_Context.make_rpc_object`."""
    return context().make_rpc_object(rpc_object_name, rpc_object_class, *args, **kwargs)


@overload
def make_instrument(
    instrument_name: str, instrument_class: Callable[..., _T], *args: object, replace: bool, **kwargs: object
) -> _T: ...
@overload
def make_instrument(
    instrument_name: str,
    instrument_class: Callable[..., _T],
    *args: object,
    simulate: bool | type[Simulator],
    replace: bool = False,
    **kwargs: object,
) -> _T: ...
@overload
def make_instrument(
    instrument_name: str,
    instrument_class: Callable[Concatenate[QMI_Context, str, _P], _T],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _T: ...
def make_instrument(
    instrument_name: str,
    instrument_class: Callable[Concatenate[QMI_Context, str, _P], _T],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _T:
    """Make an instrument in the context and return a proxy of it; see :meth:`.QMI_Context.make_instrument`."""
    return context().make_instrument(instrument_name, instrument_class, *args, **kwargs)


def hosted(driver: Any, adapter: Adapter | None = None) -> type[HostedInstrument]:
    """A class of instruments with a driver of another library: PyMeasure, QCoDeS, a class of your own, ...

    ::

        dmm = qmi.make_instrument("dmm", qmi.hosted("pymeasure.instruments.hp:HP34401A"), "GPIB::22")

    Its parameters, methods and channels are those of the driver, which runs in a thread of its own.

    Args:
        driver: The class of the driver; or where it is, as ``"package.module:Class"``; or a driver that exists.
        adapter: What is known of its library; None looks for it among those that there are.

    Returns:
        The class, for ``make_instrument()``, which takes what the driver takes.

    Raises:
        QMI_UsageException: If there is no such driver.
    """
    from qmi.hosting import hosted_class  # only where something is hosted

    return hosted_class(driver, adapter)


def make_task(
    task_name: str,
    task_class: type[QMI_Task[object, object]],
    *args: object,
    task_runner: type[TR] = QMI_TaskRunner,  # type: ignore[assignment]
    restart_rule: RestartRule | None = None,
    **kwargs: object,
) -> TR:
    """Make a task in the context and return a proxy of its runner; see :meth:`.QMI_Context.make_task`."""
    return context().make_task(
        task_name, task_class, *args, task_runner=task_runner, restart_rule=restart_rule, **kwargs
    )


def get_rpc_object(rpc_object_name: str, auto_connect: bool = False, host_port: str | None = None) -> Any:
    """Return a proxy of an object that exists; see :meth:`.QMI_Context.get_rpc_object`."""
    return context().get_rpc_object(rpc_object_name, auto_connect, host_port)


def get_instrument(instrument_name: str, auto_connect: bool = False, host_port: str | None = None) -> Any:
    """Return a proxy of an instrument that exists; see :meth:`.QMI_Context.get_rpc_object`."""
    return context().get_instrument(instrument_name, auto_connect, host_port)


def get_task(task_name: str, auto_connect: bool = False, host_port: str | None = None) -> Any:
    """Return a proxy of a task that exists; see :meth:`.QMI_Context.get_rpc_object`."""
    return context().get_task(task_name, auto_connect, host_port)


def list_rpc_objects(
    category: str | None = None, *, rpc_object_baseclass: type[QMI_RpcObject] | str | None = None
) -> list[tuple[str, str]]:
    """The objects that can be reached, as pairs of address and class name.

    Args:
        category: "instrument", "task", ... or None for all.
        rpc_object_baseclass: The same, or a class such as ``QMI_Instrument``.
    """
    return context().list_rpc_objects(_category(category, rpc_object_baseclass))


def show_rpc_objects(
    category: str | None = None, *, rpc_object_baseclass: type[QMI_RpcObject] | str | None = None
) -> None:
    """Print the objects that can be reached.

    Args:
        category: "instrument", "task", ... or None for all.
        rpc_object_baseclass: The same, or a class such as ``QMI_Instrument``.
    """
    context().show_rpc_objects(_category(category, rpc_object_baseclass))


def _category(category: str | None, base: type[QMI_RpcObject] | str | None) -> str | None:
    if base is None:
        return category
    if isinstance(base, str):
        return base
    return None if base is QMI_RpcObject else base.get_category()


def show_instruments() -> None:
    """Print the instruments that can be reached."""
    context().show_instruments()


def show_tasks() -> None:
    """Print the tasks that can be reached."""
    context().show_tasks()


def show_contexts() -> None:
    """Print the contexts that this program knows."""
    context().show_contexts()


def show_network_contexts() -> None:
    """Print the contexts that answer on the network or are connected, and whether they are connected."""
    context().show_network_contexts()


def get_configured_contexts() -> dict[str, CfgContext]:
    """The settings of all configured contexts by name."""
    return context().get_configured_contexts()


def get_status(context_name: str | None = None, timeout: float | None = None) -> ContextStatus:
    """What a context tells of itself; see :meth:`.QMI_Context.get_status`."""
    return context().get_status(context_name, timeout)


def info() -> InfoText:
    """What there is to say about the context, on several lines; also that there is none."""
    try:
        return context().info()
    except QMI_NoActiveContextException as error:
        from qmi.contexts.tables import InfoText

        return InfoText(error)


for _value in list(globals().values()):
    if getattr(_value, "__module__", None) == __name__:
        _value.__module__ = "qmi"
del _value
