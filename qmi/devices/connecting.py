"""What is said about a device to which no connection can be made."""

from __future__ import annotations

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
    reason = error.strerror or str(error) or type(error).__name__
    text = f"{reason}: no connection to {where}: {advice or _advice(error)}"
    made = _same_class(error, text)
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


def _same_class(error: OSError, text: str) -> OSError:
    try:
        return type(error)(text) if error.errno is None else type(error)(error.errno, text)
    except TypeError:  # a subclass with a constructor of its own
        return OSError(error.errno, text)
