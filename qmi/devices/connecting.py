"""What is said about a device to which no connection can be made."""

from __future__ import annotations

import os
import socket

SILENT = "is it on, is the address right?"
_REFUSED = "nothing listens there: is it on, is the port right?"
_NO_HOST = "there is no host of that name: is it written right, is the network there?"
_NO_PORT = "list_transports() of qmi.core.transport lists those that are there"


def cannot_connect(error: OSError, where: object, advice: str = "") -> OSError:
    """The same exception with the address, and with what to look at.

    Args:
        error: What the system says.
        where: The address.
        advice: What to look at, where that is known; "" goes by the error.

    Returns:
        An exception of the same class and error number.
    """
    one = _alike(error)
    reason = one.strerror or str(one) or type(one).__name__
    text = f"{reason}: no connection to {where}: {advice or _advice(error)}"
    made = _same_class(one, text)
    for note in getattr(error, "__notes__", ()):
        made.add_note(note)
    return made


def advice_for(host: str) -> str:
    """What to look at where a library does not say why there is no connection: the name of the host, if unknown."""
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror:
        return _NO_HOST
    except (OSError, UnicodeError):
        pass
    return ""


def no_such_port(device: str) -> str:
    """What is said about a serial port that is not there."""
    return f"there is no serial port {device}; {_NO_PORT}"


def _advice(error: BaseException) -> str:
    # The event loop tries all addresses of a name, and tells why each of them failed in a group.
    causes: list[BaseException | None] = [error, error.__cause__]
    for cause in list(causes):
        if isinstance(cause, BaseExceptionGroup):
            causes += cause.exceptions
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return _NO_HOST
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return _REFUSED
    return SILENT


def _alike(error: OSError) -> OSError:
    """What an event loop has met at each address of a name, where that was the same; it raises an error of no kind."""
    if error.errno is None and isinstance(group := error.__cause__, BaseExceptionGroup):
        kinds = {(type(each), each.errno if isinstance(each, OSError) else None) for each in group.exceptions}
        if len(kinds) == 1 and isinstance(one := group.exceptions[0], OSError) and one.errno:
            return type(one)(one.errno, os.strerror(one.errno))
    return error


def _same_class(error: OSError, text: str) -> OSError:
    try:
        return type(error)(text) if error.errno is None else type(error)(error.errno, text)
    except TypeError:  # a subclass with a constructor of its own
        return OSError(error.errno, text)
