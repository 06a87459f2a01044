"""What one blocking client does, at random: calls of every kind, each in the ledger."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy

from qmi.config.schema import CfgDiscovery, CfgQmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_ConnectionException,
    QMI_ContextStoppedException,
    QMI_Exception,
    QMI_MessageDeliveryException,
    QMI_ObjectLockedException,
    QMI_UnknownNameException,
)
from qmi.core.pubsub import QMI_SignalReceiver
from tests.soak.ledger import VALUE, Ledger

CONFIG = CfgQmi(discovery=CfgDiscovery(enabled=False))
CALL_TIMEOUT = 40.0
"""Longer than any link takes to notice that the other side is dead: a call that ends by this has hung."""


EXPECTED = (
    QMI_MessageDeliveryException,
    QMI_ConnectionException,
    QMI_ObjectLockedException,
    QMI_ContextStoppedException,
    QMI_UnknownNameException,
)
"""How a call may end when something is broken. No timeouts: each loss is noticed before."""


class Gate:
    """Lets clients work, pause and end together.

    Args:
        count: How many clients there are.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._mutex = threading.Condition()
        self._resting = 0
        self._paused = False
        self.ended = False

    def check(self, set_result: Callable[[], object]) -> bool:
        """Wait while there is a pause; False when it is time to end.

        Args:
            settle: Called before a pause is waited for: a client that rests is one that has all its links, so that two
                samples that are taken in pauses can be compared.
        """
        if self._paused:
            set_result()
            with self._mutex:
                self._resting += 1
                self._mutex.notify_all()
                self._mutex.wait_for(lambda: not self._paused or self.ended)
                self._resting -= 1
        return not self.ended

    @property
    def is_paused(self) -> bool:
        """Whether there is a pause, for clients that must not be blocked."""
        return self._paused

    def rest(self, number: int) -> None:
        """Count a client that waits in its own way in, or out."""
        with self._mutex:
            self._resting += number
            self._mutex.notify_all()

    def pause(self) -> None:
        """Return when all clients wait."""
        with self._mutex:
            self._paused = True
            self._mutex.wait_for(lambda: self._resting == self._count)

    def go(self) -> None:
        """End the pause."""
        with self._mutex:
            self._paused = False
            self._mutex.notify_all()

    def end(self) -> None:
        """Let all clients end."""
        with self._mutex:
            self.ended = True
            self._mutex.notify_all()


class Order:
    """Signals of one run of a publisher come in order, none twice."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], int] = {}

    def misfit(self, publisher: str, process: int, count: int) -> str | None:
        """What is wrong with a signal that came, if anything is."""
        last = self._last.get((publisher, process), 0)
        self._last[publisher, process] = count
        return f"signal {count} of {publisher} came after {last}" if count <= last else None


class Client:
    """One context that calls at random.

    Args:
        name: Name of its context.
        ports: Where the servers are.
        ledger: Where all is written down.
        gate: Tells when to pause.
        source: Chooses what to do.
    """

    def __init__(self, name: str, ports: Mapping[str, int], ledger: Ledger, gate: Gate, source: random.Random) -> None:
        self.name, self._ports, self._ledger, self._gate, self._source = name, ports, ledger, gate, source
        self._context = QMI_Context(name, CONFIG)
        self._receiver = QMI_SignalReceiver()
        self._order = Order()

    def run(self) -> None:
        """Work until the gate says that it is over."""
        with self._context:
            while self._gate.check(self._settle):
                server = self._source.choice(list(self._ports))
                if not self._context.has_peer_context(server):
                    self._connect(server)
                    continue
                try:
                    self._source.choice([self.call, self.call_async_object, self.nonblocking, self.arrays, self.lock,
                                         self.stream, self.signals])(server)  # fmt: skip
                except QMI_Exception as error:
                    self._check(error)
                except Exception as error:
                    self._ledger.write("v", f"{self.name}: {type(error).__name__}: {error}")
                threading.Event().wait(self._source.random() * 0.05)  # a person's pace; nothing is waited for

    def _settle(self) -> None:
        for server in self._ports:
            while not self._context.has_peer_context(server) and not self._gate.ended:
                self._connect(server)

    def _connect(self, server: str) -> None:
        try:
            self._context.connect_to_peer(server, f"127.0.0.1:{self._ports[server]}", ignore_duplicate=True)
            bench = self._proxy(server, "bench")
            bench.sig_count.subscribe(self._receiver)
        except QMI_Exception:
            threading.Event().wait(0.2)

    def _proxy(self, server: str, name: str) -> Any:
        return self._context.get_rpc_object(f"{server}.{name}")

    def _check(self, error: QMI_Exception) -> None:
        if not isinstance(error, EXPECTED):
            self._ledger.write("v", f"{self.name}: {type(error).__name__}: {error}")

    def _booked(self, function: Callable[[str], Any], expected: Any) -> None:
        number = self._ledger.number()
        self._ledger.write("b", number)
        try:
            value = function(number)
        except BaseException as error:
            self._ledger.write("e", number, type(error).__name__)
            raise
        self._ledger.write("e", number, VALUE)
        if expected is not None and not numpy.array_equal(value, expected):
            self._ledger.write("v", f"{self.name}: call {number} gave {value!r} instead of {expected!r}")

    def call(self, server: str) -> None:
        """A plain call."""
        bench, value = self._proxy(server, "bench"), self._source.random()
        self._booked(lambda number: bench.echo(number, value, rpc_timeout=CALL_TIMEOUT), value)

    def call_async_object(self, server: str) -> None:
        """A call of an object that lives in the server's loop."""
        bench, value = self._proxy(server, "async"), self._source.random()
        self._booked(lambda number: bench.echo(number, value, rpc_timeout=CALL_TIMEOUT), value)

    def nonblocking(self, server: str) -> None:
        """Several calls under way at once, of which each has an end of its own."""
        bench = self._proxy(server, "bench")
        futures = []
        for index in range(5):
            number = self._ledger.number()
            self._ledger.write("b", number)
            futures.append((number, index, bench.rpc_nonblocking.echo(number, index)))
        for number, index, future in futures:
            try:
                value = future.wait(CALL_TIMEOUT)
            except QMI_Exception as error:
                self._ledger.write("e", number, type(error).__name__)
                self._check(error)
                continue
            self._ledger.write("e", number, VALUE)
            if value != index:
                self._ledger.write("v", f"{self.name}: call {number} got the answer of another one")

    def arrays(self, server: str) -> None:
        """An array there and back."""
        bench, value = self._proxy(server, "bench"), numpy.arange(self._source.randrange(10, 40_000), dtype=float)
        self._booked(lambda number: bench.echo(number, value, rpc_timeout=CALL_TIMEOUT), value)

    def lock(self, server: str) -> None:
        """Lock, come in a few times, unlock."""
        vault = self._proxy(server, f"vault{self._source.randrange(3)}")
        if not vault.lock(timeout=self._source.choice([0.0, 0.5])):
            return
        session = self._ledger.number()
        self._ledger.write("g", session)
        how = "lost"
        try:
            for _ in range(3):
                self._booked(lambda number: vault.visit(number, self.name, session, rpc_timeout=CALL_TIMEOUT), None)
            how = "unlocked" if vault.unlock() else "lost"
        finally:
            self._ledger.write("r", session, how)

    def stream(self, server: str) -> None:
        """Items in order, all of them or the first few."""
        bench, leave = self._proxy(server, self._source.choice(["bench", "async"])), self._source.choice([3, 100])
        found: list[int] = []

        def read(number: str) -> list[int]:
            with bench.count(number, 40) as items:
                for item in items:
                    found.append(item)
                    if item == leave:
                        break
            return found

        self._booked(read, list(range(min(leave + 1, 40))))

    def signals(self, server: str) -> None:
        """Have a signal published, and look at those that came."""
        bench = self._proxy(server, "bench")
        self._booked(lambda number: bench.publish(number, rpc_timeout=CALL_TIMEOUT), None)
        while self._receiver.has_signal_ready():
            with suppress(TimeoutError):
                signal = self._receiver.get_next_signal(timeout=0)
                misfit = self._order.misfit(signal.publisher_context, *signal.args)
                if misfit:
                    self._ledger.write("v", f"{self.name}: {misfit}")
