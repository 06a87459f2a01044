"""Fast path, must equal the loop that reads (``Link._read``): a thread, or a waiting caller, reads a link instead.

What comes is handled in the same order and by the same functions, whoever reads; ``tests/net/io/test_link.py`` compares
both (``test_messages_are_the_same_whoever_reads_them``).

Each message that comes by way of another thread costs a switch of threads, which is most of the time of a call. So a
blocking caller reads for itself while it waits for its answer, and the thread of an object that has just answered
waits there for the next request. As long as the other side is awake, both look without sleeping: for a few times as
long as a switch of threads would take, and for about as long as the other side takes to read and write what is large.

The *right* to read is a lock, which whoever reads holds for as long as it does; nobody waits for it. When none of those
reads, the loop does: it *stands by*. It sleeps at the *gate*, which those who read for themselves shut meanwhile: what
comes for them wakes nobody else (:mod:`qmi.net.io.read_gate`). In a rush several links are one source, for which a
thread stands by (:mod:`qmi.net.io.rush`).

What only the loop may handle goes back to the loop, and nobody reads on before it has been handled: the order of what
came is kept.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

from qmi.net.io import read_gate
from qmi.net.io.gate_watch import GateWatch
from qmi.net.io.read_gate import Poller, ReadGate
from qmi.net.protocol.events import Event
from qmi.runtime.doorbell import Doorbell, Idler
from qmi.runtime.processors import PROCESSORS
from qmi.runtime.sigint import INTERRUPTS
from qmi.runtime.wakeup import ThreadWaker

PATIENCE = 0.05
"""How many seconds a thread waits for something to come before the loop stands by again."""
_LONGEST = 0.25
_LONGEST_WAIT = round(_LONGEST * 1000)
"""How many seconds, and milliseconds, a caller sleeps before it looks whether the link is still there."""
_SPIN = 250e-6
"""For how long, in seconds, somebody looks for the next message before sleeping; a lone processor has better to do."""
_PER_BYTE = 20e-9
_MOST_FOR_BYTES = 1e-3
"""And longer by so many seconds for each byte that went either way since somebody looked last, by so many at most: the
other side has to decode and encode what this one has, and takes as long for it."""
_LONG_TURN = 0.002
"""Who gives the processor away while looking, and gets it back after so many seconds, does not look for a while."""
PATIENT = 16
PAUSE = 0.002
"""Whoever stands by and is woken may find the right taken: who reads for itself is about to shut the gate, or about to
leave. So it looks again at once, so often; but the one that reads may also stand in a program's handler of some signal,
for longer, so that it pauses then, for so many seconds."""
_MOMENT = 50e-6
"""A thread that looks again at once sleeps so many seconds before: it would keep the interpreter from the one that is
about to leave."""
_LEAST_USES = 8
_OFTEN = 64
_OFTEN_WITHIN = 0.02
"""Where somebody reads for itself so often within so many seconds, it is looked after every other millisecond whether
that is so; and while it is, so often between two looks, the gate stays shut."""
_LATE = 1.0
"""But not for so many seconds if something was found late: after its calls, the program waits for something else."""
_MOST_REST = 8
"""So many times somebody reads what is there already, before leaving the rest to the loop."""
_OFTEN_IN_VAIN = 8
"""After so many times in a row nobody looks or sleeps at the link any more. Some are, before threads read it at all."""
_TRY_AGAIN = 64
"""Then somebody does so again one time in so many."""
_TRY_HEAD_START_AGAIN = 1024
"""And so many times in a row nobody gets a head start: what is read then is late by it."""


_let_others_run: Callable[[], object] = getattr(os, "sched_yield", lambda: None)


class Source(Protocol):
    """What is read."""

    @property
    def is_up(self) -> bool:
        """Whether there is anything to read from."""

    @property
    def is_amid(self) -> bool:
        """Whether a part of a message has come, so that the rest is under way."""

    @property
    def is_for_threads(self) -> bool:
        """Whether it is up, and no tasks of the loop wait for answers: then the loop wants to read for itself."""

    @property
    def volume(self) -> int:
        """How many bytes have come or were given to be written, so far."""

    def descriptor(self) -> int:
        """The socket; negative if it is closed."""

    def read_once(self) -> tuple[bool, list[Event]]:
        """Read, and handle what anybody may handle.

        Returns:
            Whether there may be more, and what only the loop may handle from there on.
        """

    def call_loop(self) -> None:
        """Have the loop take the right, whether anything comes or not. From any thread."""

    def free(self) -> None:
        """Nobody reads any more, nor ever will: give the socket back. From any thread."""


class _Habit:
    """Whether to wait here for what may come elsewhere: hardly ever, after it did so several times.

    That is so when the object takes its time, and on a busy machine, where whoever looks keeps the other side from
    running. Now and then it is tried all the same.

    Attributes:
        in_vain: How often in a row it was. Where each message comes by, this is looked at first: as long as it is 0,
            waiting is worth it, and that something came teaches nothing.
    """

    __slots__ = ("_again", "_skipped", "in_vain")

    def __init__(self, again: int = _TRY_AGAIN) -> None:
        self._again = again
        self.in_vain: int = 0
        self._skipped = 0

    def is_worth_it(self) -> bool:
        """Whether to wait here this time."""
        if self.in_vain < _OFTEN_IN_VAIN:
            return True
        self._skipped = (self._skipped + 1) % self._again
        return not self._skipped

    def stop(self) -> None:
        """Not for a while."""
        self.in_vain = _OFTEN_IN_VAIN

    def learn(self, *, came: bool) -> None:
        """Whether something came."""
        self.in_vain = 0 if came else min(self.in_vain + 1, _OFTEN_IN_VAIN)


class ReaderHandoff:
    """The right to read one link. The loop has it at first, and keeps it until there is a gate.

    Args:
        source: The link.
        watch: Looks after the gate while it stays shut; without, it never does.
        least_uses: How often somebody has to read for itself between two looks so that it stays shut.

    Attributes:
        gate: Where whoever stands by sleeps; None until somebody else than the loop is to read.
        is_wanted: Whether a caller wants to.
        rest: What only the loop may handle; until it has, nobody reads.
        is_called: Whether the loop shall look again, whether anything comes or not.
        is_watched: Whether the gate is looked after.
        stays_shut: Whether it stays shut when somebody has read who comes back.
    """

    def __init__(self, source: Source, watch: GateWatch | None = None, *, least_uses: int = _LEAST_USES) -> None:
        self.gate: ReadGate | None = None
        self.is_wanted: bool = False
        self.rest: list[Event] = []
        self.is_called: bool = False
        self._source = source
        self._right = threading.Lock()
        self._right.acquire()
        self._is_loops = True  # known to the loop alone
        self._poller: Poller | None = None
        self._poller_of: tuple[Doorbell, int, Poller] | None = None  # for whom, and the descriptor of the bell
        self._more = False
        # When the thread of an object has answered or read last, and the same if it comes to read again; for a guess,
        # without the right.
        self._answered = self._reads_soon = 0.0
        self._volume = 0  # when somebody looked last
        self._heard = 0.0  # when a thread has read last, likewise
        self._is_retired = False
        self._for_answers = _Habit()
        self._for_requests = _Habit()
        self._for_pieces = _Habit()
        self._idling = _Habit()
        self._watch = watch
        self._least_uses = least_uses
        self.is_watched: bool = False
        self.stays_shut: bool = False
        self._not_before = 0.0
        # How often somebody has read for itself since the last look, and when the count began; for a guess.
        self._uses = 0
        self._counted_since = 0.0
        self._pausing: ThreadWaker | None = None  # who leaves the right to others at the moment
        self._head_starts = _Habit(_TRY_HEAD_START_AGAIN)

    # The loop

    def open(self) -> bool:
        """Make the gate, so that others than the loop may read from now on; whether there is one.

        Raises:
            OSError: If the system has no descriptor left.
        """
        if self.gate is None and sys.platform == "linux" and hasattr(select, "poll"):
            gate = read_gate.EpollGate(self._source.descriptor())
            self._poller = gate.poller()
            self.gate = gate
        return self.gate is not None

    def leave(self) -> None:
        """The loop, which has the right, leaves it to others, if there can be others."""
        if self.gate is not None:
            self._is_loops = False
            self.gate.open()
            self._right.release()

    def take(self) -> bool:
        """Whether the loop has the right again; else somebody reads for itself, and may have had what came."""
        if not self._is_loops:
            self._is_loops = self._right.acquire(False)
        return self._is_loops

    def lend(self) -> None:
        """The loop, which has the right, leaves it to somebody who gives it back by :meth:`hand_back`."""
        if self.gate is not None:
            self.gate.shut()
        self._is_loops = False

    def hand_back(self, rest: list[Event]) -> None:
        """Give the right back to the loop, and what only it may handle. From any thread."""
        self.rest = rest
        if self.gate is not None:
            self.gate.open()
        self._right.release()
        self._has_more_to_come()

    @property
    def answered(self) -> float:
        """When the thread of an object has answered or read last. Without the right: for a guess."""
        return self._answered

    def forgo(self) -> None:
        """The thread of an object waits for something else, and does not come to read. From any thread."""
        self._reads_soon = 0.0
        self._open_for_others()
        if (waker := self._pausing) is not None:
            waker.wake()

    def retire(self) -> bool:
        """The link has ended: nobody may read any more, and whoever still does is the last one.

        Returns:
            Whether the socket has been given back; else the last one who reads does it.
        """
        self._is_retired = True
        if not self.take():
            return False
        self._free()
        return True

    def _free(self) -> None:
        # With the right, which nobody gets any more.
        if self.gate is not None:
            self.gate.close()
        self._source.free()

    # A gate that stays shut

    def look_after(self) -> bool:
        """Open the gate if nobody has read for itself lately; see :class:`.gate_watch.Gated`."""
        uses, self._uses = self._uses, 0
        if self._is_retired:
            return False
        if uses >= self._least_uses and self._source.is_for_threads and time.monotonic() >= self._not_before:
            self.stays_shut = True
        elif self.stays_shut:
            self._open_again(learns=uses < self._least_uses)
        return self.stays_shut or uses > 0

    def _open_again(self, *, learns: bool = False) -> None:
        # Whoever has the right meanwhile finds out when it has given it back.
        self.stays_shut = False
        if self._right.acquire(False):
            if learns and self._poll(0):
                self._not_before = time.monotonic() + _LATE
            self._give_back()

    def _open_for_others(self) -> None:
        # Whoever does not read waits elsewhere, until somebody does.
        if self.stays_shut:
            self._open_again()

    def _count(self) -> None:
        # Somebody has come for the `_OFTEN`th time.
        now = time.monotonic()
        if now - self._counted_since < _OFTEN_WITHIN and self._watch is not None:
            self._watch.watch(self)
        self._counted_since = now
        self._uses = 0

    # A thread that stands by

    def serve(self, head_start: Callable[[], float]) -> None:
        """Stand by in a thread, until nothing that nobody else reads comes for a while.

        Args:
            head_start: For how many seconds the right is left to the thread of an object that has just read.
        """
        gate = self.gate
        assert gate is not None
        in_vain = 0
        lost_at = 0.0  # when somebody had read last, as the right was taken
        while self._may_read():
            if not gate.wait(PATIENCE):
                return
            # The thread of an object that has just answered reads on when it has answered all that it has read. Whoever
            # reads meanwhile takes the interpreter from it at each of its writes, and gives it so much to do that it
            # never comes to read. But what comes for other objects should not wait for one that takes its time.
            heard = self._heard
            pause = self._reads_soon + head_start() - time.monotonic()
            if pause > 0 and self._head_starts.is_worth_it():
                self._pausing = waker = ThreadWaker()
                if self._reads_soon:  # else it has forgone the head start a moment ago
                    waker.wait(pause)
                self._pausing = None
                has_read = self._heard != heard or self._right.locked()
                if has_read or self._reads_soon:
                    self._head_starts.learn(came=has_read)
                if has_read:
                    continue
            if not self._right.acquire(False):
                in_vain = in_vain + 1 if self._heard == lost_at else 0
                lost_at = self._heard
                time.sleep(PAUSE if in_vain > PATIENT else _MOMENT)
                continue
            in_vain = 0
            try:
                self._read_on()
            finally:
                self._give_back()

    def _read_on(self) -> None:
        # What is there, and the rest of a large message that is under way.
        comes = not self.rest
        while comes:
            self._read()
            if self.rest or not self._source.is_up:
                return
            comes = self._more or (self._source.is_amid and self._piece_comes())

    # Those who read for themselves

    def _may_read(self) -> bool:
        # Also of no effect in a forked child, where the link is down and the gate is gone.
        return not self.rest and self._source.is_for_threads

    def drive_io(self, done: Callable[[], object], timeout: float | None) -> None:
        """Read on behalf of a caller, until its call is done or its time is over; not at all if somebody else reads.

        Args:
            done: Whether the call is done.
            timeout: For how long at most, in seconds.
        """
        gate = self.gate
        if gate is None:
            self.is_wanted = True
            return
        if self.rest or not self._source.is_for_threads or not self._right.acquire(False):
            self._open_for_others()
            return
        try:
            now = time.monotonic()
            end = None if timeout is None else now + timeout
            if gate.is_open:
                gate.shut()
            if PROCESSORS.are_several(now):
                duration = min(self._look_for(self._for_answers, now), _LONGEST if timeout is None else timeout)
                if duration > 0:  # who does not look learns nothing
                    self._spin(done, now, duration, self._for_answers)
            wait = self._poll
            # Whoever had the right before may have left something to the loop. All else has just been looked at, and is
            # again after each wait.
            # Also where there is always more to read: its time ends, and Ctrl-C strikes as soon as it waits elsewhere.
            while not (done() or INTERRUPTS.pending or self.rest):
                left = _LONGEST if end is None else min(_LONGEST, end - time.monotonic())
                if self._more or wait(_LONGEST_WAIT if end is None else max(0, round(left * 1000))):
                    self._read()
                if done() or left <= 0 or not self._source.is_for_threads:
                    break
                wait = self._wait
            if self._more:
                self._read_rest()
        finally:
            self._give_back(comes_back=bool(done()))

    def idle(self, thread: Idler) -> None:
        """Wait for the next message in a thread that has just answered one: look for it first, and then sleep.

        Args:
            thread: The calling thread.
        """
        gate = self.gate
        if gate is None:  # there was no rush yet
            return
        now = self._answered = self._reads_soon = time.monotonic()
        if thread.is_wanted():  # there is something to do already
            return
        duration = 0.0
        if PROCESSORS.are_several(now):
            # Without the right: whoever reads meanwhile notes another volume, so that this looks for longer or not as
            # long.
            duration = self._look_for(self._for_requests, now)
        sleeps = not self._idling.in_vain or self._idling.is_worth_it()
        if not (duration or sleeps) or self.rest or not self._source.is_for_threads or not self._right.acquire(False):
            self._open_for_others()
            return
        try:
            if gate.is_open:
                gate.shut()
            if duration:
                self._spin(thread.is_wanted, now, duration, self._for_requests)
            if sleeps and not (duration and thread.is_wanted()):
                self._sleep_idle(thread)
            if self._more:
                self._read_rest()
        finally:
            comes_back = bool(thread.is_wanted())  # else it waits elsewhere
            if comes_back:
                self._answered = self._reads_soon = time.monotonic()
            self._give_back(comes_back=comes_back)

    def _sleep_idle(self, thread: Idler) -> None:
        # Until there is something to do, by what this reads or by what somebody else gives to the thread, or nothing
        # comes for a while.
        bell = thread.bell
        came = False
        try:
            if self._poller_of is None or self._poller_of[0] is not bell:
                self._poller_of = self._poller_with(bell)
            _, descriptor, poller = self._poller_of
        except OSError:  # no descriptor is left
            self._idling.learn(came=False)
            return
        is_first = True  # then only what is left to the loop has not just been looked at
        while not came and (not self.rest if is_first else self._may_read()):
            is_first = False
            bell.is_listening = True
            ready = () if self._more or thread.is_wanted() else poller.poll(PATIENCE * 1000)
            bell.is_listening = False
            # Whoever rings from here on finds that nobody listens, or the bell is answered after the next sleep.
            if not self._more and (len(ready) != 1 or ready[0][0] == descriptor):
                bell.answer()
                break
            self._read()
            came = bool(thread.is_wanted())
        if not came or self._idling.in_vain:
            self._idling.learn(came=came)

    def _poller_with(self, bell: Doorbell) -> tuple[Doorbell, int, Poller]:
        assert self.gate is not None
        return bell, bell.fileno(), self.gate.poller(bell.fileno())

    def _look_for(self, habit: _Habit, now: float) -> float:
        """For how long to look for the next message before sleeping, in seconds.

        Only while the other side is awake, as far as that can be told from here: it has said something so lately that
        it still looks for an answer. For no shorter after it was in vain: what came a little too late once would then
        come too late again. One that sleeps is best waited for asleep: it may be woken on this very processor,
        where it would have to wait until nobody looks any more.
        """
        volume = self._source.volume
        duration = _SPIN + min(max(volume - self._volume, 0) * _PER_BYTE, _MOST_FOR_BYTES)
        self._volume = volume
        return duration if now - self._heard < duration and (not habit.in_vain or habit.is_worth_it()) else 0.0

    def _spin(self, enough: Callable[[], object], now: float, duration: float, habit: _Habit) -> None:
        end = now + duration
        while now < end and not enough() and not self.rest:
            if self._more or self._poll(0):
                self._read()
                if not self._source.is_up:
                    break
                now = time.monotonic()
                continue
            before = time.monotonic()
            # Linux often wakes the other side on the processor of the one that wakes it. Programs that want it for
            # themselves get it for milliseconds, as a thread of this one gets the interpreter.
            _let_others_run()
            now = time.monotonic()
            if now - before > _LONG_TURN:
                habit.stop()
                return
        # What the other side has said while it had this processor is read by the first step that follows.
        came = bool(enough()) or self._poll(0)
        if not came or habit.in_vain:
            habit.learn(came=came)

    def _read_rest(self) -> None:
        # TLS may hold messages that the socket, and so the gate, does not tell of: whoever stands by would sleep on.
        # Not for ever: who leaves has better to do.
        left = _MOST_REST
        while self._more and left and self._may_read():
            left -= 1
            self._read()

    def _give_back(self, *, comes_back: bool = False) -> None:
        if comes_back and self.stays_shut and not self._more and not self.rest:
            # Whether the source is still there is seen by whoever looks after the gate.
            self._right.release()
            self._uses += 1
            if (not self.stays_shut or self._is_retired) and self._has_more_to_come():
                self._open_again()  # whoever wanted it open has found the right taken
            return
        gate = self.gate
        assert gate is not None
        is_for_loop = self._more or bool(self.rest) or not self._source.is_up
        if not gate.is_open:
            # Opened first: who takes the right from here on shuts it again. Whoever stands by may find the right still
            # taken, and looks again.
            gate.open()
        self._right.release()
        if comes_back:
            self._uses += 1
            if self._uses >= _OFTEN and not self.is_watched:
                self._count()
        if self._is_retired and not self._has_more_to_come():
            return
        if is_for_loop:
            # Nothing more may come, so that the gate would keep the loop asleep. Whoever takes the right meanwhile
            # finds the rest, and calls the loop as well.
            self.is_called = True
            self._source.call_loop()

    def _has_more_to_come(self) -> bool:
        # Whether anything may ever come again. The right has just been given back.
        # Set before retire() has looked for the right: so either it has found it, or this finds it set.
        if self._is_retired and self._right.acquire(False):
            self._free()
        return not self._is_retired

    def _wait(self, milliseconds: int) -> bool:
        return (self._source.is_amid and self._piece_comes()) or self._poll(milliseconds)

    def _piece_comes(self) -> bool:
        # Who sleeps in the midst of a large message has to be woken for each piece of it, for which the sender pays.
        now = time.monotonic()
        if not PROCESSORS.are_several(now) or not self._for_pieces.is_worth_it():
            return False
        end = now + _SPIN
        came = False
        while not came and time.monotonic() < end:
            came = self._poll(0)
            if not came:
                _let_others_run()
        self._for_pieces.learn(came=came)
        return came

    def _poll(self, milliseconds: int) -> bool:
        assert self._poller is not None
        return bool(self._poller.poll(milliseconds))

    def _read(self) -> None:
        self._heard = time.monotonic()
        self._more, self.rest = self._source.read_once()
