"""When an object is asked for its readings without anybody calling: ``poll=`` of a parameter.

One task of the context's loop for each object that has something to poll, from when it is opened until it is closed or
removed; an object that cannot be opened is polled as long as it is there. The task waits by the context's clock until a
reading is due, puts a turn into the object's mailbox as a caller does, and waits until that turn has ended. So a poll
waits for the calls before it, and there is never more than one poll of an object in its mailbox: what became due
meanwhile is asked once, and then goes on at its own times. The lock does not stop a poll: a reading changes nothing.

Who touches it: :meth:`Poller.start` and :meth:`Poller.stop` are called by the object's ``open()`` and ``close()``,
wherever they run, and by the context; the poller's mutex decides which run is the current one. A run that is not the
current one any more asks for nothing, also if its turn has come already: :meth:`PollTurn.invoke` looks. A turn of the
object cannot overlap the turn in which it is closed, so that no poll reaches a device that is closed.
"""

from __future__ import annotations

import heapq
import logging
import math
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Final, Protocol

import trio

from qmi.actors.clock.monotonic import Clock, LoopTimer
from qmi.actors.future import NO_ARGUMENTS, Callee, PendingCall, Turn
from qmi.actors.interface import Method
from qmi.actors.mailbox import Mailbox
from qmi.actors.user_errors import text_of
from qmi.messages import Origin
from qmi.records import NamedTuple
from qmi.runtime.call_context import EXECUTION
from qmi.runtime.wakeup import Loop

_logger = logging.getLogger("qmi.core.rpc")

_POLL: Final = Method("__rpc_poll__")
_REST: Final = 4.0
"""How much longer than a poll that failed took no other one that failed last is asked: a device that does not answer
keeps its object busy until the timeout is over, and callers want to get in between."""


class PollServices(Protocol):
    """What polling needs of the context."""

    loop: Loop
    clock: Clock
    origin: Origin

    def spawn(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Start a task in the context's nursery; False if that takes no more. On the loop only."""


class PolledActor(Callee, Protocol):
    """What polling needs of the actor."""

    mailbox: Mailbox[Turn]
    own_calls: int

    def enter(self, turn: Turn) -> None:
        """Put a turn in line, and see to it if it is its turn already."""


class Polled(Protocol):
    """An object that can be asked for its readings."""

    def __rpc_poll__(self, name: str) -> object:
        """Ask for the reading of this name and publish it; something to await if that is asked in the loop."""


class _Due(NamedTuple):
    time: float
    asked: float  # when it was last: of those that are due at once, the one that waits longest comes first
    number: int
    tick: int
    name: str
    period: float


class PollTurn(PendingCall):
    """One reading: a turn like that of a call.

    Args:
        run: The polling that it belongs to.
        reading: What is asked.
    """

    __slots__ = ("_run", "reading")

    passes_lock = True

    def __init__(self, run: PollRun, reading: str) -> None:
        super().__init__(_POLL.name, (), NO_ARGUMENTS, None, (), run.origin)
        self.method: Method = _POLL
        self.actor: Callee | None = run.actor
        self.reading: str = reading
        self._run = run

    @property
    def text(self) -> str:
        """What it does, for people."""
        return f"poll of {self.reading}"

    def invoke(self, target: object) -> object:
        """Ask, if the object has not been closed since this got into line."""
        self._run.actor.own_calls += 1
        polled: Polled = target  # type: ignore[assignment]
        return polled.__rpc_poll__(self.reading) if self._run.is_current() else None


class Poller:
    """What is polled of one object, and whether that goes on now.

    Args:
        services: The context.
        actor: The object's actor.
        periods: What is asked, and each how many seconds.
    """

    def __init__(self, services: PollServices, actor: PolledActor, periods: Mapping[str, float]) -> None:
        self._services = services
        self._actor = actor
        self._periods = periods
        self._mutex = threading.Lock()
        self._run: PollRun | None = None

    def start(self) -> None:
        """Begin; from any thread. Does nothing if it goes on already."""
        with self._mutex:
            if self._run is not None:
                return
            # Here and not in the task, so that a virtual clock knows of it from now on.
            waiter = self._services.clock.loop_waiter(name=f"polling {self._actor.where}")
            run = self._run = PollRun(self, self._services, self._actor, self._periods, waiter)
        if not self._services.loop.now_or_soon(run.begin):
            run.close()

    def stop(self) -> None:
        """End; from any thread. A reading that is being asked is given up, unless it is asked in a thread."""
        with self._mutex:
            run, self._run = self._run, None
        if run is not None and not self._services.loop.now_or_soon(run.scope.cancel):
            run.close()

    def is_current(self, run: PollRun) -> bool:
        """Whether this is the polling that goes on."""
        return self._run is run


class PollRun:
    """The polling of one object, from once that it is opened until it is closed.

    Attributes:
        actor: The object's actor.
        origin: The context.
        scope: Cancels it.
    """

    def __init__(
        self,
        poller: Poller,
        services: PollServices,
        actor: PolledActor,
        periods: Mapping[str, float],
        waiter: LoopTimer,
    ) -> None:
        self.actor: PolledActor = actor
        self.origin: Origin = services.origin
        self.scope: trio.CancelScope = trio.CancelScope()
        self._poller = poller
        self._services = services
        self._waiter = waiter
        self._begun = services.clock.now()
        # When each is due, and for which time; at first in the order in which they are declared.
        self._due = [_Due(self._begun, -math.inf, index, 0, *item) for index, item in enumerate(periods.items())]
        self._failures: dict[str, int] = {}
        self._rest_until = self._begun  # those that failed last are not asked before

    def is_current(self) -> bool:
        """Whether it still goes on."""
        return self._poller.is_current(self) and self.actor.mailbox.closed is None

    def begin(self) -> None:
        """Start the task. On the loop."""
        if not self._services.spawn(self._run):
            self.close()

    def close(self) -> None:
        """The task will never run, or is over."""
        self._waiter.close()

    async def _run(self) -> None:
        EXECUTION.set(None)  # that of whoever opened the object
        try:
            with self.scope:
                while self.is_current():
                    await self._poll(self._due[0])
        except Exception:  # of the clock, or ours: it must not take the context down, whose task this is
            _logger.exception("%s is not polled any more", self.actor.where)
        finally:
            self.close()

    async def _poll(self, due: _Due) -> None:
        if due.name in self._failures and due.time < self._rest_until:  # it became due before another one failed
            heapq.heapreplace(self._due, due._replace(time=self._rest_until))
            return
        now = self._services.clock.now
        await self._waiter.sleep_until(due.time)
        begun = now()
        failed = await self._ask(due.name)
        ended = now()
        tick = next_tick(due.tick, due.period, ended - self._begun)
        heapq.heapreplace(self._due, due._replace(time=self._begun + tick * due.period, asked=begun, tick=tick))
        if failed:
            self._rest_until = ended + _REST * (ended - begun)

    async def _ask(self, name: str) -> bool:
        """Ask for one reading; returns whether that failed."""
        turn = PollTurn(self, name)
        try:
            self.actor.enter(turn)
            await turn.ended()
        except BaseException:
            turn.cancel()
            raise
        error = turn.error()
        if not self.is_current():
            return False  # what became of it is of no use to anybody
        before = self._failures.pop(name, 0)
        if error is not None:
            self._failures[name] = before + 1
            if not before:
                why = f"{type(error).__name__}: {text_of(error)}"
                _logger.warning("%s: polling %s failed and goes on, said once: %s", self.actor.where, name, why)
        elif before:
            times = "1 failure" if before == 1 else f"{before} failures"
            _logger.warning("%s: polling %s works again, after %s", self.actor.where, name, times)
        return error is not None


def next_tick(tick: int, period: float, now: float) -> int:
    """Which of the times of a reading comes next: the first one after this that is not over.

    Args:
        tick: Which it was this time; the first one is 0.
        period: How long it is from each to the next, in seconds.
        now: The time since the first one.
    """
    return max(tick, math.floor(now / period)) + 1
