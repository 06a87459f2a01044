"""Asking over UDP who is there, and answering; :mod:`qmi.net.discovery.packets` decides what is asked and answered."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import trio

from qmi.names import HostPort
from qmi.net.discovery.packets import MAX_SIZE, Answer, Question, read_answer, write_question
from qmi.net.io.failures import Failures
from qmi.net.io.listener import OUT_OF_RESOURCES
from qmi.net.loopback import is_loopback
from qmi.runtime.forks import close_in_child
from qmi.runtime.random_bytes import random_bytes

_logger = logging.getLogger("qmi.core.messaging")

_COMPLAINT_EVERY = 60.0
_ASK_TWICE_AFTER = 0.1
_BURST = 200
_BREATH = 0.05


class Responder:
    """Answers questions until it is cancelled.

    Args:
        answer: Makes the answer to a packet from a host, or None.
        host: Where the context listens. If only this machine can connect, only this machine is answered.
        port: The UDP port for questions.
        broadcasts: The addresses that questions are sent to.
        failures: Counts and tells what nobody foresaw.
    """

    def __init__(
        self,
        answer: Callable[[bytes, str], bytes | None],
        *,
        host: str,
        port: int,
        broadcasts: Sequence[str],
        failures: Failures | None = None,
    ) -> None:
        self._failures = failures or Failures()
        self._answer = answer
        self._port = port
        self._complained = float("-inf")
        self._sockets: list[socket.socket] = []
        for address in self._addresses(host, broadcasts):
            try:
                self._sockets.append(self._bind(address))
            except OSError as error:
                _logger.warning(
                    "This context cannot be found by others: UDP port %d on %s: %s",
                    port, address or "this machine", error.strerror or error,
                )  # fmt: skip

    @staticmethod
    def _addresses(host: str, broadcasts: Sequence[str]) -> list[str]:
        if not is_loopback(host):
            return [""]
        # Bound to the broadcast address itself, nothing from outside can arrive.
        return [address for address in broadcasts if is_loopback(address)]

    def _bind(self, address: str) -> socket.socket:
        sock = close_in_child(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            try:
                sock.bind((address, self._port))
            except OSError:
                if not address:
                    raise
                sock.bind(("", self._port))  # not every system can bind to a broadcast address
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock

    async def run(self) -> None:
        """Answer until cancelled. What nobody foresaw fails one question at most: the responder goes on."""
        try:
            async with trio.open_nursery() as nursery:
                for sock in self._sockets:
                    nursery.start_soon(self._serve, sock)
        finally:
            for sock in self._sockets:
                sock.close()

    async def _serve(self, sock: socket.socket) -> None:
        while True:
            try:
                await self._serve_many(sock)
            except* Exception as group:
                self._failures.fault("responder", "Answering who looks for contexts goes on after a fault", group)
                await trio.sleep(_BREATH)

    async def _serve_many(self, sock: socket.socket) -> None:
        served = 0
        while True:
            try:
                data, source = sock.recvfrom(MAX_SIZE + 1)
            except BlockingIOError:
                served = 0
                await trio.lowlevel.wait_readable(sock)
                continue
            except OSError as error:
                # Windows says so when somebody who was answered has closed his socket.
                if not isinstance(error, ConnectionResetError):
                    self._complain(str(error))
                await trio.sleep(_BREATH)
                continue
            served += 1
            if served % _BURST == 0:
                await trio.sleep(_BREATH)  # a flood must not keep the loop from everybody else
            self._serve_one(sock, data, source)

    def _serve_one(self, sock: socket.socket, data: bytes, source: tuple[str, int]) -> None:
        reply = self._answer(data, source[0])
        if reply is None:
            return
        try:
            sock.sendto(reply, source)
        except OSError as error:
            self._complain(str(error))

    def _complain(self, fault: str) -> None:
        now = time.monotonic()
        if now - self._complained >= _COMPLAINT_EVERY:
            self._complained = now
            _logger.warning("Trouble with discovery: %s", fault)


async def ask(
    workgroup: str, pattern: str, *, addresses: Iterable[str], port: int, timeout: float, enough: int | None = None
) -> list[Answer]:
    """Ask who is there.

    Args:
        workgroup: Only contexts of this workgroup answer.
        pattern: Which names shall answer.
        addresses: Where the question goes to.
        port: The UDP port for questions.
        timeout: How long to wait for answers, in seconds.
        enough: Wait no longer when so many have answered.

    Returns:
        The answers, each context once, in the order of their names.

    Raises:
        OSError: If there is no descriptor for the question, not even after the timeout; or the system refuses it.
        ValueError: If the workgroup or the pattern is too long.
    """
    question = Question(int.from_bytes(random_bytes(8)) >> 4, workgroup, pattern)
    packet = write_question(question)
    found: dict[tuple[str, HostPort], Answer] = {}
    with await _open(timeout) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setblocking(False)
        targets = [(address, port) for address in addresses]
        with trio.move_on_after(timeout):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send, sock, packet, targets)
                while enough is None or len(found) < enough:
                    await trio.lowlevel.wait_readable(sock)
                    _collect(sock, question, found)
                nursery.cancel_scope.cancel()
    return sorted(found.values(), key=lambda answer: (answer.name, answer.address))


async def _open(timeout: float) -> socket.socket:
    # A lack of descriptors may be over in a moment.
    deadline = trio.current_time() + timeout
    while True:
        try:
            return close_in_child(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        except OSError as error:
            if error.errno not in OUT_OF_RESOURCES or trio.current_time() >= deadline:
                raise
            await trio.sleep(_BREATH)


async def _send(sock: socket.socket, packet: bytes, targets: list[tuple[str, int]]) -> None:
    # Twice, since UDP may lose it.
    for _ in range(2):
        for target in targets:
            with suppress(OSError):  # this network is not there; another one may be
                sock.sendto(packet, target)
        await trio.sleep(_ASK_TWICE_AFTER)


def _collect(sock: socket.socket, question: Question, found: dict[tuple[str, HostPort], Answer]) -> None:
    for _ in range(_BURST):
        try:
            data, source = sock.recvfrom(MAX_SIZE + 1)
        except OSError:
            return
        answer = read_answer(data, source_host=source[0], question=question)
        if answer is not None:
            found.setdefault((answer.name, answer.address), answer)
