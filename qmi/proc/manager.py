"""How commands about many contexts run: side by side where the order allows, each to its own end."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter

from qmi.proc.controller import Controller, Notify
from qmi.proc.order import Order, start_order
from qmi.proc.selection import Target
from qmi.proc.status import EXIT_FAILED, State, Status, exit_code
from qmi.runtime.flags import take

_AT_ONCE = 32
_HEAD_START = 4e-3
"""Seconds. A program of this machine answers within them, and then threads do not take turns with the interpreter."""

Act = Callable[[Target], Status]


class Manager:
    """Carries out commands about any number of contexts.

    Every method raises BrokenPipeError as soon as `notify` has raised it, in whatever thread.

    Args:
        one: Carries out a command about one of them.
        notify: Is told of every change, as `one` is.
    """

    def __init__(self, one: Controller, notify: Notify) -> None:
        self._one = one
        self._notify = notify
        # A hundred programs that load their libraries at once would all be too slow for their time limit.
        self._turn = threading.Semaphore(_AT_ONCE)

    def start(self, targets: Sequence[Target]) -> list[Status]:
        """Start all, each after those that it connects to. One that fails does not keep the others from starting."""
        return self._run(targets, start_order(targets), self._one.start)

    def stop(self, targets: Sequence[Target]) -> list[Status]:
        """Stop all, each before those that it connects to."""
        return self._run(targets, start_order(targets).reverse(), self._one.stop)

    def restart(self, targets: Sequence[Target]) -> list[Status]:
        """Stop all, then start those that have stopped."""
        stopped = {status.name: status for status in self.stop(targets)}
        going_on = [target for target in targets if not exit_code([stopped[target.name]])]
        return [*self.start(going_on), *(status for status in stopped.values() if status.exit_code)]

    def status(self, targets: Sequence[Target]) -> list[Status]:
        """Ask all, none later than a few milliseconds after the one before."""
        order = Order({target.name: frozenset() for target in targets})
        return self._run(targets, order, self._one.status, head_start=_HEAD_START)

    def _run(self, targets: Sequence[Target], order: Order, act: Act, *, head_start: float = 0.0) -> list[Status]:
        by_name = {target.name: target for target in targets}
        for target in targets:
            self._notify(Status(target.name, target.host, State.WAITING))
        done = self._run_in_order(by_name, order, act, head_start)
        return [done[name] for name in by_name]

    def _run_in_order(
        self, by_name: Mapping[str, Target], order: Order, act: Act, head_start: float
    ) -> dict[str, Status]:
        results: queue.SimpleQueue[Status | BrokenPipeError] = queue.SimpleQueue()
        done: dict[str, Status] = {}
        sorter = TopologicalSorter(order.after)
        sorter.prepare()
        started = 0

        def collect(timeout: float | None) -> None:
            status = take(results, timeout)
            if isinstance(status, BrokenPipeError):
                raise status
            done[status.name] = status
            sorter.done(status.name)

        while sorter.is_active():
            for name in sorter.get_ready():
                # A thread each, and daemons: with all waiting for others, only Ctrl-C has work to do here.
                threading.Thread(target=self._act, args=(by_name[name], act, results), name=name, daemon=True).start()
                started += 1
                if head_start:
                    with contextlib.suppress(queue.Empty):
                        collect(head_start)
            if sorter.is_active() and started > len(done):
                collect(None)
        return done

    def _act(self, target: Target, act: Act, results: queue.SimpleQueue[Status | BrokenPipeError]) -> None:
        try:
            results.put(self._acted(target, act))
        except BrokenPipeError as exc:
            # The reader of our output has gone: the command ends, and does not wait for this thread.
            results.put(exc)

    def _acted(self, target: Target, act: Act) -> Status:
        try:
            with self._turn:
                return act(target)
        except BrokenPipeError:
            raise
        except Exception as exc:  # noqa: BLE001
            # A boundary: a mistake of ours about one context is shown there and does not leave the others waiting.
            text = f"internal error: {type(exc).__name__}: {exc}"
            status = Status(target.name, target.host, State.FAILED, detail=text, exit_code=EXIT_FAILED)
            self._notify(status)
            return status
