"""Where contexts are by the configuration, where others are asked for, and which answers are of one program."""

from __future__ import annotations

from collections.abc import Iterable

from qmi.config.schema import CfgQmi
from qmi.names import HostPort
from qmi.net.discovery.packets import Answer
from qmi.net.loopback import LOOPBACK, LOOPBACK_BROADCAST, is_loopback


def configured(config: CfgQmi, name: str) -> HostPort | None:
    """Where the configuration says that a context is; None if it does not."""
    found = config.contexts.get(name)
    if found is None or not found.tcp_server_port:
        return None
    return HostPort(found.host or LOOPBACK, found.tcp_server_port)


def each_program_once(answers: Iterable[Answer]) -> list[Answer]:
    """One answer for each program, by loopback if it came that way too: a question may reach a program on many ways."""
    programs: dict[object, Answer] = {}
    for answer in sorted(answers, key=lambda answer: not is_loopback(answer.host)):
        programs.setdefault(answer.incarnation or (answer.pid, answer.port), answer)
    return list(programs.values())


def everywhere(config: CfgQmi) -> list[str]:
    """The broadcast addresses of this machine and of all networks that are configured, each once."""
    return list(dict.fromkeys((LOOPBACK_BROADCAST, *config.discovery.broadcast_addresses)))
