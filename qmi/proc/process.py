"""Which process a number means, and signals that cannot reach another one.

A process number is used again after its process has ended; number and start time together are not.

Where the system has ``/proc``, that is read here for what every command asks. psutil knows the other systems, and the
rest; it takes as long to import as a question to a program, so it is imported where it is used.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from msgspec import Struct

from qmi.names import HostPort

_POLL = 0.02
_STATE = 0
_STARTED = 19
"""Start time in clock ticks since this boot: unlike the time of day, it stays the same when the clock is set."""
_ENDED = ("Z", "X", "x")


class ProcessIdentity(Struct):
    """One process and no other.

    Attributes:
        pid: Its number.
        born: When it started, in a form that is only good for comparing.
    """

    pid: int
    born: str


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of the live process of that number, or None; one that is dead but not yet reaped is none."""
    if pid <= 0:
        return None
    if (fields := _stat(pid)) is not None:
        return None if fields[_STATE] in _ENDED else ProcessIdentity(pid, f"{_boot()}:{fields[_STARTED]}")
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return ProcessIdentity(pid, f"{process.create_time():.2f}")
    except psutil.Error:
        return None


def find_marked(variable: str, mark: str) -> ProcessIdentity | None:
    """The oldest live process that has a variable of this value in its environment, as far as this user may know."""
    import psutil

    found = []
    for process in psutil.process_iter(["create_time"]):
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(variable) == mark and (identity := identify(process.pid)) is not None:
                found.append((process.info["create_time"], process.pid, identity))
    return min(found)[2] if found else None


def is_alive(identity: ProcessIdentity) -> bool:
    """Whether that very process still runs."""
    return identify(identity.pid) == identity


def age(identity: ProcessIdentity) -> float | None:
    """For how many seconds the process has been running; None if it has ended."""
    if sys.platform == "linux" and (fields := _stat(identity.pid)) is not None:
        since_boot = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_STARTED]) / os.sysconf("SC_CLK_TCK")
        return max(since_boot, 0.0) if is_alive(identity) else None
    import psutil

    with contextlib.suppress(psutil.Error):
        if is_alive(identity):
            born: float = psutil.Process(identity.pid).create_time()
            return max(time.time() - born, 0.0)
    return None


def send_signal(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """Send a signal to that very process; return whether it was there to get it.

    Raises:
        PermissionError: If the process belongs to somebody else.
    """
    if not hasattr(os, "pidfd_open") or not hasattr(signal, "pidfd_send_signal"):
        return _send_checked(identity, number)
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    except OSError:
        return _send_checked(identity, number)
    try:
        # The handle is of one process: if that is the right one now, the signal goes nowhere else.
        if not is_alive(identity):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def wait_gone(identity: ProcessIdentity, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> bool:
    """Wait until the process has ended, at most so many seconds; return whether it has."""
    deadline = clock() + seconds
    while is_alive(identity):
        if clock() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def listens_on(identity: ProcessIdentity, port: int) -> bool:
    """Whether the process itself listens on the TCP port, as far as we may know."""
    import psutil

    with contextlib.suppress(psutil.Error):
        sockets = psutil.Process(identity.pid).net_connections("tcp")
        return is_alive(identity) and any(
            sock.status == psutil.CONN_LISTEN and sock.laddr and sock.laddr.port == port for sock in sockets
        )
    return False


def is_descendant(pid: int, ancestor: ProcessIdentity) -> bool:
    """Whether the process is that one, or was started by it or by one of its children."""
    if pid == ancestor.pid:
        return is_alive(ancestor)
    import psutil

    with contextlib.suppress(psutil.Error):
        return any(parent.pid == ancestor.pid for parent in psutil.Process(pid).parents()) and is_alive(ancestor)
    return False


def port_holder(address: HostPort) -> str:
    """The process that listens on the port, if we may know: ``"python3 (PID=12)"``, or an empty text."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for sock in psutil.net_connections("tcp"):
            if sock.status == psutil.CONN_LISTEN and sock.laddr and sock.laddr.port == address.port and sock.pid:
                with contextlib.suppress(psutil.Error):
                    return f"{psutil.Process(sock.pid).name()} (PID={sock.pid})"
    return ""


def _stat(pid: int) -> list[str] | None:
    """What ``/proc`` says of a process, behind its name; None if there is no ``/proc``, or no such process."""
    try:
        _boot()
        found = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return found if len(found) > _STARTED else None


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _send_checked(identity: ProcessIdentity, number: signal.Signals) -> bool:
    import psutil

    try:
        if not is_alive(identity):
            return False
        # psutil compares the start time once more.
        psutil.Process(identity.pid).send_signal(number)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied as exc:
        raise PermissionError(f"process {identity.pid} belongs to somebody else") from exc
    return True
