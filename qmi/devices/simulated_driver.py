"""How a driver with a transport is simulated: its own code runs, and its transport leads to a simulated device."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from qmi.actors.instrument import QMI_Instrument
from qmi.actors.interface import method_kind
from qmi.actors.simulated import announce, any_parameters, clock_of, make_simulated_class, not_simulated
from qmi.devices.plugged import SIMULATED
from qmi.devices.scpi_rules import ScpiRules
from qmi.devices.simulated import DeviceSocket
from qmi.parameters.declared import declared_of
from qmi.simulation.declared import described, groups_of
from qmi.simulation.device import SimulatedDevice
from qmi.simulation.simulator import Simulator

_TRANSPORT = "transport"


def simulated_driver(cls: type[QMI_Instrument], simulator: type[Simulator] | None) -> type[QMI_Instrument] | None:
    """The class of a simulated driver, if it is one with a transport; see :data:`qmi.actors.simulated_kinds.KINDS`.

    Raises:
        QMI_UsageException: If it cannot be simulated.
    """
    signature = inspect.signature(cls)
    names = [name for name in signature.parameters if _TRANSPORT in name]
    is_ours = hasattr(cls, "TRANSPORT_DEFAULTS")  # a base class of this package, which makes the transport
    if not names and not is_ours:
        return None
    if simulator is None and not any_parameters(declared_of(cls)):
        raise not_simulated(cls, "it declares no parameters")
    inside = simulator or Simulator

    def begin(self: QMI_Instrument, context: Any, name: str, *args: Any, **kwargs: Any) -> None:
        socket = DeviceSocket(lambda: device_of(self, cls, inside), name, clock_of(context))
        vars(self)["__simulated__"] = socket
        args, kwargs = _with_transports(signature, names, args, kwargs)
        with socket.in_place_of_transports():
            cls.__init__(self, context, name, *args, **kwargs)
        announce(name, cls, inside)

    namespace: dict[str, object] = {"__init__": begin}
    if not is_ours:
        # A driver that makes its transport itself may do so when it is opened.
        namespace["open"] = _plugged_in(inspect.getattr_static(cls, "open"))
    return make_simulated_class(cls, namespace)


def _with_transports(
    signature: inspect.Signature, names: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a constructor, with texts for transports that were not given, or that are objects."""
    try:
        bound = signature.bind_partial(None, "", *args, **kwargs)
    except TypeError:  # the constructor says it better
        return args, kwargs
    if not names and not args:  # a constructor that hands on what it does not know
        return args, {_TRANSPORT: SIMULATED, **kwargs}
    for name in names:
        given = bound.arguments.get(name, signature.parameters[name].default)
        if given is inspect.Parameter.empty or callable(getattr(given, "write", None)):
            bound.arguments[name] = SIMULATED
    return bound.args[2:], bound.kwargs


def device_of(driver: object, cls: type[QMI_Instrument], simulator: type[Simulator]) -> SimulatedDevice:
    """The device of a simulated driver.

    Args:
        driver: The driver, as far as its constructor has come; for the numbers of its channels.
        cls: Its class, as its author wrote it.
        simulator: The class of the inside of the device.
    """
    return SimulatedDevice(
        simulator,
        described(declared_of(cls).parameters.values()),
        groups_of(cls, driver),
        driver=cls.__name__,
        command_terminator=getattr(driver, "command_terminator", "\n"),
        response_terminator=getattr(driver, "response_terminator", "\n"),
        echo=getattr(driver, "echo", False),
        error_query=getattr(driver, "error_query", "SYST:ERR?"),
        clear_command=getattr(driver, "clear_command", "*CLS"),
        # Other drivers than those of SCPI devices need not say how their device tells what it is.
        identity_query=driver.IDENTITY_QUERY if isinstance(driver, ScpiRules) else "*IDN?",
        completion_query=getattr(driver, "completion_query", None),
    )


def _plugged_in(original: Callable[..., Any]) -> Callable[..., Any]:
    """A method during which transports that are made lead to the simulated device."""

    @functools.wraps(original)
    def plain(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.__simulated__.in_place_of_transports():
            return original(self, *args, **kwargs)

    @functools.wraps(original)
    async def awaited(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.__simulated__.in_place_of_transports():
            return await original(self, *args, **kwargs)

    return awaited if method_kind(original).is_async else plain
