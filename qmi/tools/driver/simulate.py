"""``simulate TARGET``: serves the simulated device of a driver, for programs in any language, until it is ended."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from qmi.core.driver import Simulator
from qmi.core.instrument import QMI_Instrument
from qmi.errors import QMI_Exception, QMI_UsageException
from qmi.peers.acceptor import holder_of
from qmi.testing import serve_simulator
from qmi.tools.cli.errors import EXIT_USAGE, CommandError
from qmi.tools.driver import target
from qmi.tools.driver.arguments import add_constructor_arguments, constructor_arguments

_LOCALHOST = "127.0.0.1"
# On Windows, Ctrl-C is seen between two waits.
_LONGEST_WAIT = 0.5 if os.name == "nt" else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("target", metavar="TARGET", help=f"{target.HELP}; or the class of a simulator")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        help=f"listen there; :PORT is that of {_LOCALHOST}, which only this computer reaches, and port 0 any free one",
    )
    where.add_argument("--pty", action="store_true", help="make a pseudo-terminal, for programs that use a serial port")
    add_constructor_arguments(parser)


def run(given: argparse.Namespace) -> int:
    """Carry out the command."""
    simulated = _find(given.target)
    where = "pty" if given.pty else f"tcp:{_address(given.tcp)}"
    arguments = constructor_arguments(given.arguments, simulated if issubclass(simulated, QMI_Instrument) else None)
    try:
        served = serve_simulator(simulated, where, kwargs=arguments)
    except QMI_Exception:
        raise
    except Exception as error:  # of the driver's constructor, or of its simulator
        raise QMI_UsageException(f"{simulated.__name__} cannot be made: {target.reason(error)}") from error
    try:
        with _ended_by_signals(), served as server:
            # Flushed, since another program may wait for it.
            sys.stdout.write(f"{simulated.__name__} is simulated at {server.address}; Ctrl-C ends it\n")
            sys.stdout.flush()
            while not server.wait(_LONGEST_WAIT):
                pass
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        text = f"The simulator cannot be served at {where}: {_reason(error, given.tcp)}"
        raise CommandError(text, EXIT_USAGE) from error
    sys.stderr.write("error: the simulator has stopped by itself; its log says why\n")
    return 1


def _find(text: str) -> type[QMI_Instrument] | type[Simulator]:
    name, class_name = target.split_target(text)
    if class_name:
        found = target.find_class(target.import_target(name), class_name)
        if issubclass(found, Simulator):
            return found
    driver = target.find_driver(text)
    if not issubclass(driver, QMI_Instrument):
        raise QMI_UsageException(f"{driver.__name__} is no instrument, and only those have a simulator")
    return driver


def _address(text: str) -> str:
    """The address as a transport has it."""
    host, colon, port = text.rpartition(":")
    if not colon and text.isdigit():
        host, port = "", text
    if not port.isdigit() or int(port) > 65535:
        raise QMI_UsageException(f"--tcp takes HOST:PORT, such as {_LOCALHOST}:5025, got {text!r}")
    return f"{host or _LOCALHOST}:{port}"


def _reason(error: OSError, tcp: str | None) -> str:
    """Why it cannot listen, and what to do."""
    # Not its strerror, to which Python adds the address once more.
    why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
    if tcp is None:
        return why
    holder = holder_of(int(tcp.rpartition(":")[2])) if error.errno == errno.EADDRINUSE else ""
    by = f", by {holder}" if holder else ""
    return f"{why}{by}; name another address by --tcp (port 0 takes any free one)"


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
