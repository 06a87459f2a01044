"""What is said of names that an object does not offer."""

from __future__ import annotations

from qmi.actors.interface import Interface
from qmi.names import nearest

SIMULATE_FAULT = "simulate_fault"
"""What simulated instruments publish besides, and others do not."""


def unknown_method(interface: Interface, where: str, name: str, unpublished: bool) -> str:
    """The message for a name that an object does not offer, with the nearest one that it does.

    Args:
        interface: What the object offers.
        where: Its address.
        name: What was asked for.
        unpublished: Whether its class has such a method all the same.
    """
    if name == SIMULATE_FAULT and interface.category == "instrument":
        return (
            f"{where} is not simulated, and has no {name}(): faults are those of simulated instruments, which "
            "make_instrument(..., simulate=True) makes"
        )
    is_signal = name.startswith("sig")
    has_parameters = interface.parameters is not None
    kind = (
        "signal or method" if is_signal else "parameter or published method" if has_parameters else "published method"
    )
    text = f"{interface.short_name} {where} has no {kind} {name!r}"
    if unpublished:
        text += "; the class has it, but without @rpc_method"
    near = nearest(name, [signal.name for signal in interface.signals]) if is_signal else None
    near = near or nearest(name, [*interface.methods, *interface.constants, *interface.properties])
    return f"{text}. Did you mean {near!r}?" if near else text


def unknown_setting(interface: Interface, where: str, name: str) -> str:
    """The message for a name that is assigned to, and that an object does not offer.

    Args:
        interface: What the object offers.
        where: Its address.
        name: What was assigned to.
    """
    own = interface.parameters.own if interface.parameters is not None else {}
    settable = [known for known in interface.properties if known not in own or own[known].settable]
    near = nearest(name, settable)
    what = "parameter" if own else "property"
    hint = f". Did you mean {near!r}?" if near else ", and a proxy keeps no values of its own"
    return f"{interface.short_name} {where} has no {what} {name!r}{hint}"
