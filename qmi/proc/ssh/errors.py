"""What went wrong between here and another machine: the host, the key, the command or the line in between."""

from __future__ import annotations

import enum
import os
import socket
from typing import TYPE_CHECKING

from qmi.errors import QMI_RuntimeException
from qmi.proc.helper_protocol import clean

if TYPE_CHECKING:
    import asyncssh


class ErrorSource(enum.Enum):
    """What failed."""

    HOST = "host"
    KEY = "key"
    COMMAND = "command"
    LOST = "connection lost"


class RemoteError(QMI_RuntimeException):
    """A command for another machine failed.

    Attributes:
        culprit: What failed. After `ErrorSource.LOST` nobody knows whether the command was carried out.
    """

    def __init__(self, culprit: ErrorSource, message: str) -> None:
        super().__init__(clean(message))
        self.culprit = culprit


def login_error(exc: BaseException, host: str, user: str, seconds: float) -> RemoteError | None:
    """Say what kept us from logging in.

    Host keys are another matter: see `host_key_error`.

    Args:
        exc: What asyncssh raised.
        host: The host, as the configuration names it, and where it is.
        user: The user name that was tried.
        seconds: The time that there was.

    Returns:
        The error to raise, or None for an exception that is none of the network's or the configuration's.
    """
    import asyncssh

    if isinstance(exc, asyncssh.PermissionDenied):
        return RemoteError(
            ErrorSource.KEY,
            f"key: {host} refused every key that was offered for user {user}: "
            f"put your public key there with 'ssh-copy-id', or set ssh_user",
        )
    if isinstance(exc, socket.gaierror):
        return RemoteError(ErrorSource.HOST, f"host: the name of {host} is not known: {exc.strerror}")
    if isinstance(exc, TimeoutError):
        return RemoteError(ErrorSource.HOST, f"host: {host} did not answer within {seconds:g} s")
    if isinstance(exc, ConnectionRefusedError):
        return RemoteError(ErrorSource.HOST, f"host: {host} refused the connection: no SSH server listens there")
    if isinstance(exc, OSError):
        # What asyncio says of a connection that failed has no reason in it but this number.
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        return RemoteError(ErrorSource.HOST, f"host: {host} cannot be reached: {reason}")
    if isinstance(exc, asyncssh.Error):
        return RemoteError(ErrorSource.HOST, f"host: {host} ended the login: {exc.reason}")
    if isinstance(exc, ValueError):
        return RemoteError(ErrorSource.HOST, f"host: the SSH settings for {host} are not usable: {exc}")
    return None


def host_key_error(host: str, presented: asyncssh.SSHKey | None, *, known: bool) -> RemoteError:
    """Say that the host was not authenticated.

    Args:
        host: The host, as the configuration names it, and where it is.
        presented: The key that it showed.
        known: Whether another key of this host is known.
    """
    shown = f" ({presented.get_algorithm()} {presented.get_fingerprint()})" if presented is not None else ""
    if known:
        text = (
            f"key: the host key of {host} has changed{shown}: another machine may pose as it. If the change is known "
            "to be right, remove the old key with 'ssh-keygen -R', then log in once with 'ssh'"
        )
    else:
        text = (
            f"key: the host key of {host} is not known{shown}: compare it with the machine's own, "
            "then log in once with 'ssh' to accept it"
        )
    return RemoteError(ErrorSource.KEY, text)
