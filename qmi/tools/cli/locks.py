"""``qmi lock``, ``reserve`` and ``unlock``: keep others from an object, and give it back."""

from __future__ import annotations

import argparse
import getpass
import os
import platform
import shlex
import sys
import threading
import time
from argparse import Namespace
from contextlib import suppress
from typing import TYPE_CHECKING

from qmi.errors import QMI_Exception, QMI_UsageException
from qmi.names import Address
from qmi.runtime.flags import Flag
from qmi.tools.cli.errors import EXIT_FAILED, EXIT_OK, CommandError
from qmi.tools.cli.options import CommandParser, seconds_of
from qmi.tools.cli.session import Laboratory, laboratory, parse_object
from qmi.tools.cli.terminal import Terminal

if TYPE_CHECKING:
    from qmi.actors.proxy import QMI_RpcProxy
    from qmi.core.context import ReleaseRequest

_LONGEST_REASON = 100
_DESCRIPTIONS = {
    "lock": """
Lock an object as long as the command runs: until Ctrl-C, or for a time. Who asks for the lock meanwhile is shown.
In IPython, '%qmi lock' holds it until '%qmi unlock' or the end of the session.

  qmi lock lab.psu --reason "changing the sample"
  qmi lock lab.psu --for 30m

Or as long as another program runs, which may use the object: it is handed the lock, and ends what it has started.
The exit code is that of the program.

  qmi lock lab.psu -- python align.py
  qmi lock lab.psu --wait 10m -- sh -c "qmi set lab.psu.voltage 5 && python measure.py"
""",
    "reserve": """
Reserve an object for something. Everybody sees who has reserved it and for what, and nobody can use it, until
'qmi unlock' of the same user on the same computer gives it back. With --for, the command goes on, and gives it
back at the end of that time or at Ctrl-C.

  qmi reserve lab.laser "alignment until 18:00"
  qmi reserve lab.laser alignment --for 2h
""",
    "unlock": """
Give back what 'qmi reserve' has reserved, or take a lock away from whoever holds it:

  qmi unlock lab.laser
  qmi unlock lab.laser --force --reason "the sample would be lost"

--force asks first; where there is no terminal to ask, it needs --yes. The former holder is told.
""",
}


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments of one of the commands."""
    command = parser.prog.split()[-1]
    parser.description = _DESCRIPTIONS[command].strip()
    parser.set_defaults(command=command)
    parser.add_argument("object", metavar="CONTEXT.OBJECT", help="the object")
    if command == "unlock":
        parser.add_argument("--force", action="store_true", help="also if somebody else holds the lock")
        parser.add_argument("--yes", action="store_true", help="with --force: do not ask")
        parser.add_argument("--reason", metavar="TEXT", help="with --force: why; the former holder is told")
        return
    if command == "lock":
        parser.add_argument("--reason", metavar="TEXT", help="for what; everybody can see it")
        parser.takes_command = True
        parser.usage = "%(prog)s [options] CONTEXT.OBJECT [-- COMMAND ...]"
        parser.set_defaults(command_line=None)
    else:
        parser.add_argument("reason", metavar="REASON", help="for what; everybody can see it")
    parser.add_argument("--for", dest="length", type=_seconds, metavar="TIME", help="for how long: 90s, 30m, 2h")
    parser.add_argument(
        "--wait", type=_seconds, default=0.0, metavar="TIME", help="how long to wait for another holder"
    )


def _seconds(text: str) -> float:
    seconds = seconds_of(text)
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"must be a duration such as 90s, 30m or 2h, got {text!r}")
    return seconds


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out one of the commands; returns the exit code."""
    address = parse_object(arguments.object)
    with laboratory(arguments) as lab:
        proxy: QMI_RpcProxy = lab.proxy(str(address))
        if arguments.command == "unlock":
            return _unlock(lab, proxy, address, arguments, terminal)
        if arguments.command == "reserve" and arguments.length is None:
            return _reserve(proxy, address, arguments, terminal)
        if arguments.command == "lock" and arguments.command_line is not None:
            return _run_command(lab, proxy, address, arguments, terminal)
        return _hold(lab, proxy, address, arguments, terminal)


def own_token() -> str:
    """What a reservation of this user on this computer is locked with, so that a later command can give it back."""
    return f"qmi reserve by {getpass.getuser()} on {platform.node()}"


def _refused(proxy: QMI_RpcProxy, address: Address) -> CommandError:
    info = proxy.lock_info()
    holder = f"it is held by {info.describe()}" if info is not None else "somebody else held it"
    return CommandError(f"{address} could not be locked: {holder}")


# Holding it


def _reserve(proxy: QMI_RpcProxy, address: Address, arguments: Namespace, terminal: Terminal) -> int:
    if not proxy.reserve(arguments.reason, arguments.wait, own_token()):
        raise _refused(proxy, address)
    _told(address, "reserved", terminal)
    return EXIT_OK


def _hold(lab: Laboratory, proxy: QMI_RpcProxy, address: Address, arguments: Namespace, terminal: Terminal) -> int:
    if lab.lasts and arguments.length is None:
        if not proxy.lock(arguments.wait, reason=arguments.reason):
            raise _refused(proxy, address)
        _told(address, "locked", terminal)
        return EXIT_OK
    taken = Flag()

    def tell(request: ReleaseRequest) -> None:
        terminal.note(str(request))
        if request.taken and request.address == str(address):
            taken.set()

    lab.context.on_lock_request(tell)
    if not proxy.lock(arguments.wait, reason=arguments.reason):
        raise _refused(proxy, address)
    try:
        _told(address, "locked", terminal)
        if taken.wait(arguments.length):
            return EXIT_FAILED
    except KeyboardInterrupt:  # the usual end
        pass
    if not proxy.unlock():
        raise CommandError(f"the lock of {address} was gone before its end")
    if not terminal.json:
        terminal.note(f"{address} is unlocked")
    return EXIT_OK


def _run_command(
    lab: Laboratory, proxy: QMI_RpcProxy, address: Address, arguments: Namespace, terminal: Terminal
) -> int:
    from qmi.actors.lock_pass import PASSES, environment_with
    from qmi.actors.proxy import lock_with_pass
    from qmi.tools.cli.child import run_child

    command: list[str] = arguments.command_line
    if not command:
        raise QMI_UsageException("after -- comes the program that is to be run")
    if arguments.length is not None:
        raise QMI_UsageException("--for does not go with a program: the lock is held as long as that runs")
    lab.context.on_lock_request(lambda request: terminal.note(str(request)))
    token = lock_with_pass(proxy, arguments.wait, arguments.reason or shlex.join(command)[:_LONGEST_REASON])
    if token is None:
        raise _refused(proxy, address)
    try:
        return run_child(command, environment_with(os.environ, address, token))
    finally:
        # One that was handed to this program is not this program's to give back.
        if PASSES.get(address) != token and not _given_back(proxy):
            terminal.note(f"the lock of {address} was gone before the end")


def _given_back(proxy: QMI_RpcProxy) -> bool:
    try:
        return proxy.unlock()
    except QMI_Exception:  # its program has ended, or cannot be reached; the exit code is still that of the command
        return False


def _told(address: Address, what: str, terminal: Terminal) -> None:
    if terminal.json:
        terminal.write_json({"object": str(address), "state": what, "time": time.time()}, line=True)
    else:
        terminal.note(f"{address} is {what}")


# Giving it back


def _unlock(lab: Laboratory, proxy: QMI_RpcProxy, address: Address, arguments: Namespace, terminal: Terminal) -> int:
    if not arguments.force and (arguments.yes or arguments.reason):
        raise QMI_UsageException("--yes and --reason go with --force")
    info = proxy.lock_info()
    if info is None:
        raise CommandError(f"{address} is not locked")
    if (lab.lasts and proxy.unlock()) or proxy.unlock(own_token(), info.context):
        _told(address, "unlocked", terminal)
        return EXIT_OK
    if not arguments.force:
        raise CommandError(
            f"{address} is held by {info.describe()}; 'qmi unlock {address} --force' takes the lock away"
        )
    if not arguments.yes and not _agreed(f"{address} is held by {info.describe()}. Take the lock away? [y/N] "):
        raise CommandError(f"{address} stays locked")
    proxy.force_unlock(arguments.reason)
    _told(address, "unlocked", terminal)
    return EXIT_OK


def _agreed(question: str) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise QMI_UsageException("there is no terminal to ask: --force needs --yes")
    sys.stderr.write(question)
    sys.stderr.flush()
    answer = ""
    with suppress(EOFError):
        answer = sys.stdin.readline()
    return answer.strip().lower() in ("y", "yes")
