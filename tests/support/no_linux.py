"""Takes away what Linux has and other systems lack, before anything is imported; for a process of its own.

A program that runs here need not run on Windows; but one that fails here cannot.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

OS = (
    *("fork", "forkpty", "register_at_fork", "eventfd", "pidfd_open", "set_blocking", "get_blocking", "openpty"),
    *("getuid", "geteuid", "getgid", "getegid", "getpgid", "killpg", "setsid", "fchmod", "fchown", "chown", "mkfifo"),
    *("sched_getaffinity", "sched_setaffinity", "sched_yield", "getloadavg", "timerfd_create"),
    *("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_NOFOLLOW", "O_DIRECTORY", "EFD_CLOEXEC", "EFD_NONBLOCK"),
)
SIGNAL = ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGCHLD", "SIGQUIT")
SIGNAL_FUNCTIONS = ("pthread_kill", "pthread_sigmask", "pidfd_send_signal", "siginterrupt", "setitimer", "sigwait")
SELECT = ("poll", "POLLIN", "POLLOUT", "POLLERR", "POLLHUP")
SOCKET = ("AF_UNIX", "MSG_DONTWAIT", "MSG_NOSIGNAL", "SO_REUSEPORT", "CMSG_LEN", "send_fds", "recv_fds")
METHODS = ("sendmsg", "recvmsg", "recvmsg_into", "sendmsg_afalg")
MODULES = ("fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline")


class _Missing:
    """A method that objects of a class have no more; trio looks at the class."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __get__(self, instance: object, owner: type) -> _Missing:
        if instance is None:
            return self
        raise AttributeError("no such method on other systems")


def _socketpair(*_: Any) -> tuple[socket.socket, socket.socket]:
    """As on Windows: over TCP."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


def _no_library(*_: Any, **__: Any) -> NoReturn:
    raise OSError("no C library of this kind on other systems")


def take_away() -> None:
    """Do it, in this process."""
    for module, names in ((os, OS), (signal, SIGNAL + SIGNAL_FUNCTIONS), (select, SELECT), (socket, SOCKET)):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
            listed = getattr(module, "__all__", [])
            if name in listed:
                listed.remove(name)
    for name in METHODS:
        setattr(socket.socket, name, _Missing(name))
    socket.socketpair = _socketpair  # type: ignore[assignment]
    ctypes.PyDLL = _no_library  # type: ignore[assignment, misc]
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
