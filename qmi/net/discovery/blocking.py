"""Asking over UDP who is there, for blocking programs that have no event loop."""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Iterable
from contextlib import suppress

from qmi.names import HostPort
from qmi.net.discovery.packets import MAX_SIZE, Answer, Question, read_answer, write_question

_ASK_TWICE_AFTER = 0.1


def ask_blocking(
    workgroup: str, pattern: str, *, addresses: Iterable[str], port: int, timeout: float, quiet: float | None = None
) -> list[Answer]:
    """Ask who is there.

    Args:
        workgroup: Only contexts of this workgroup answer.
        pattern: Which names shall answer.
        addresses: Where the question goes to.
        port: The UDP port for questions.
        timeout: How long to wait for answers, in seconds.
        quiet: Wait no longer when nobody has answered for so long since the last answer; None waits to the end.

    Returns:
        The answers, each context once, in the order of their names.

    Raises:
        OSError: If the system refuses the question.
        ValueError: If the workgroup or the pattern is too long.
    """
    question = Question(secrets.randbits(60), workgroup, pattern)
    packet = write_question(question)
    targets = [(address, port) for address in addresses]
    found: dict[tuple[str, HostPort], Answer] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setblocking(False)
        now = time.monotonic()
        deadline, again, last = now + timeout, now, now + timeout
        sent = 0
        while now < min(deadline, last):
            if sent < 2 and now >= again:  # twice, since UDP may lose it
                sent, again = sent + 1, now + _ASK_TWICE_AFTER
                for target in targets:
                    with suppress(OSError):  # this network is not there; another one may be
                        sock.sendto(packet, target)
            until = min(deadline, last, again if sent < 2 else deadline)
            if select.select([sock], [], [], max(until - now, 0.0))[0] and _collect(sock, question, found):
                last = deadline if quiet is None else time.monotonic() + quiet
            now = time.monotonic()
    return sorted(found.values(), key=lambda answer: (answer.name, answer.address))


def _collect(sock: socket.socket, question: Question, found: dict[tuple[str, HostPort], Answer]) -> bool:
    """Take what has come, a packet at a time; return whether it is a new answer."""
    try:
        data, source = sock.recvfrom(MAX_SIZE + 1)
    except OSError:  # of a host that nobody answers from, as Windows tells
        return False
    answer = read_answer(data, source_host=source[0], question=question)
    return answer is not None and found.setdefault((answer.name, answer.address), answer) is answer
