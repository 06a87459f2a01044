"""Whether the instruments of a context are simulated, and what is made in their place."""

from __future__ import annotations

import logging

from qmi.actors.instrument import QMI_Instrument
from qmi.actors.rpc_object import QMI_RpcObject, take_simulate
from qmi.config.schema import CfgContext, CfgQmi

_logger = logging.getLogger("qmi.core.context")


def simulates(config: CfgQmi, own: CfgContext) -> bool:
    """Whether the configuration says that the instruments of a context are simulated.

    Args:
        config: The whole configuration.
        own: The section of the context.
    """
    return config.simulate if own.simulate is None else own.simulate


def tell_if_simulated(name: str, config: CfgQmi, own: CfgContext) -> None:
    """Tell the log at the start of a context that there are no devices: somebody may have forgotten it."""
    if simulates(config, own):
        setting = "simulate" if own.simulate is None else f"contexts.{name}.simulate"
        _logger.warning("The instruments of context %s are simulated (%s is true in its configuration)", name, setting)


def class_to_make(
    cls: type[QMI_RpcObject], kwargs: dict[str, object], config: CfgQmi, own: CfgContext
) -> tuple[type[QMI_RpcObject], dict[str, object]]:
    """The class of an object, another one where it is an instrument that is simulated, and its arguments.

    Args:
        cls: The class.
        kwargs: The keyword arguments for it, perhaps with ``simulate``, which is not for its constructor.
        config: The whole configuration.
        own: The section of the context.

    Raises:
        QMI_UsageException: If it cannot be simulated.
    """
    if not issubclass(cls, QMI_Instrument):
        return cls, kwargs
    simulate, kwargs = take_simulate(cls, kwargs)
    if simulate is False or (simulate is None and not simulates(config, own)):
        return cls, kwargs
    from qmi.actors.simulated import simulated_class  # only where something is simulated

    return simulated_class(cls, True if simulate is None else simulate), kwargs
