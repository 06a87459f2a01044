"""What the tests of process management share: a simple link, configurations, and waiting for events."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from qmi.config.schema import CfgContext, CfgProcessManagement, CfgQmi
from qmi.errors import QMI_RuntimeException
from qmi.names import HostPort
from qmi.proc.control_protocol import Absent, Answer, FoundContext, Present, Stranger
from qmi.proc.helper_protocol import Command, Ok, Reply
from qmi.proc.launch import Times
from qmi.proc.selection import Target
from tests.support.ports import free_port

PROGRAMS = Path(__file__).parent / "managed_programs"
ROOT = Path(__file__).parents[2]
QUICK = Times(ask=2.0, start=15.0, settle=0.1, soft=5.0, terminate=5.0, kill=5.0)


class TextLink:
    """Asks the programs of these tests, in plain text."""

    def ask(self, name: str, address: HostPort, *, timeout: float) -> Answer:
        try:
            words = self._talk(address, f"who {name}", timeout).split()
        except ConnectionRefusedError:
            return Absent()
        except OSError as exc:
            return Stranger(f"no answer: {exc}")
        if len(words) == 3 and words[0] == name:
            return Present(int(words[1]), words[2])
        return Stranger(f"it calls itself {words[0]}") if words else Stranger("it said nothing")

    def request_stop(self, name: str, address: HostPort, *, hard: bool, timeout: float) -> bool:
        try:
            return self._talk(address, f"stop {'hard' if hard else 'soft'}", timeout).strip() == "yes"
        except OSError:
            return False

    def call(self, name: str, address: HostPort, method: str, *, timeout: float, **kwargs: object) -> object:
        raise QMI_RuntimeException("it is a program of the tests, and has no objects")

    @staticmethod
    def _talk(address: HostPort, line: str, timeout: float) -> str:
        with socket.create_connection(address, timeout) as sock, sock.makefile("rw") as file:
            file.write(line + "\n")
            file.flush()
            return file.readline()


class ScriptedLink:
    """Gives the answers that a test wrote down; the last one for ever."""

    def __init__(self, *answers: Answer, obeys: bool = True) -> None:
        self.answers = list(answers)
        self.obeys = obeys
        self.stops: list[bool] = []
        self.calls: list[tuple[str, object]] = []
        self.told: object = []

    def ask(self, name: str, address: HostPort, *, timeout: float) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def request_stop(self, name: str, address: HostPort, *, hard: bool, timeout: float) -> bool:
        self.stops.append(hard)
        return self.obeys

    def call(self, name: str, address: HostPort, method: str, *, timeout: float, **kwargs: object) -> object:
        self.calls.append((f"{name}.{method}", kwargs))
        if isinstance(self.told, Exception):
            raise QMI_RuntimeException(f"It failed there: {self.told}") from self.told
        return self.told


class ScriptedRemote:
    """Gives the replies that a test wrote down, or raises them."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self.replies = list(replies)
        self.seen: list[tuple[str, Command]] = []

    def request(self, host: str, command: Command) -> Reply:
        self.seen.append((host, command))
        reply = self.replies.pop(0) if self.replies else Ok(1)
        if isinstance(reply, Exception):
            raise reply
        return reply


class FixedDiscovery:
    """Finds what a test wrote down."""

    def __init__(self, *found: FoundContext) -> None:
        self.found = found

    def find(self, workgroup: str, *, timeout: float) -> Sequence[FoundContext]:
        return self.found


def talker(name: str, *modes: str, peers: Sequence[str] = (), port: int | None = None) -> CfgContext:
    port = port or free_port()
    return CfgContext(
        host="127.0.0.1",
        tcp_server_port=port,
        enabled=True,
        program_module="talker",
        program_args=[str(port), name, *modes],
        python_path=str(PROGRAMS),
        connect_to_peers=list(peers),
        stop_grace=0.0,
    )


def quiet(what: str = "") -> CfgContext:
    return CfgContext(
        enabled=True, program_module="quiet", program_args=[what], python_path=str(PROGRAMS), stop_grace=0.0
    )


def dying() -> CfgContext:
    """A program that dies at start; with a port, so that its end is waited for and not just a moment."""
    context = quiet("die")
    context.host, context.tcp_server_port = "127.0.0.1", free_port()
    return context


def config_in(home: Path, **contexts: CfgContext) -> CfgQmi:
    out = home / "out"
    out.mkdir(exist_ok=True)
    return CfgQmi(qmi_home=str(home), contexts=contexts, process_management=CfgProcessManagement(output_dir=str(out)))


def target(config: CfgQmi, name: str, *, local: bool = True) -> Target:
    return Target(name, config.contexts[name], local)


HELPER = [sys.executable, "-m", "tests.support.proc_helper"]
