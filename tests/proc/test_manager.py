from __future__ import annotations

import threading
from pathlib import Path
from typing import cast

import pytest

from qmi.config.schema import CfgContext
from qmi.proc.controller import Controller
from qmi.proc.launch import Launcher
from qmi.proc.manager import Manager
from qmi.proc.selection import Target
from qmi.proc.status import State, Status, exit_code
from tests.support.proc import QUICK, ScriptedRemote, TextLink, config_in, dying, talker, target


class Script:
    """Carries out nothing, but notes the order, and fails as told."""

    def __init__(self, **failures: State | Exception) -> None:
        self.failures = failures
        self.log: list[str] = []

    def _do(self, verb: str, at: Target, good: State) -> Status:
        self.log.append(f"{verb} {at.name}")
        failure = self.failures.get(f"{verb}_{at.name}")
        if isinstance(failure, Exception):
            raise failure
        return Status(at.name, at.host, failure or good, exit_code=1 if failure else 0)

    def start(self, at: Target) -> Status:
        return self._do("start", at, State.STARTED)

    def stop(self, at: Target) -> Status:
        return self._do("stop", at, State.STOPPED)

    def status(self, at: Target) -> Status:
        return self._do("status", at, State.RUNNING)


def manager(script: object) -> tuple[Manager, list[Status]]:
    seen: list[Status] = []
    return Manager(cast(Controller, script), seen.append), seen


def targets(**peers: str) -> list[Target]:
    return [Target(name, CfgContext(connect_to_peers=list(theirs)), True) for name, theirs in peers.items()]


def test_programs_start_after_their_peers_and_stop_before_them() -> None:
    script = Script()
    one, seen = manager(script)
    chain = targets(a="b", b="c", c="")
    assert [status.name for status in one.start(chain)] == ["a", "b", "c"]
    one.stop(chain)
    assert script.log == ["start c", "start b", "start a", "stop a", "stop b", "stop c"]
    assert [status.state for status in seen[:3]] == [State.WAITING] * 3


@pytest.mark.parametrize("failure", [State.FAILED, RuntimeError("oops")])
def test_failure_of_a_program_does_not_stop_the_others(failure: State | Exception) -> None:
    script = Script(start_b=failure)
    one, seen = manager(script)
    statuses = one.start(targets(a="b", b="", c=""))
    assert [status.state for status in statuses] == [State.STARTED, State.FAILED, State.STARTED]
    assert exit_code(statuses) == 1
    if isinstance(failure, Exception):
        assert statuses[1].detail == "internal error: RuntimeError: oops"
        assert statuses[1] in seen


def test_a_restart_stops_all_first_and_starts_only_what_has_stopped() -> None:
    script = Script(stop_b=State.FAILED)
    one, _ = manager(script)
    statuses = one.restart(targets(a="b", b="c", c=""))
    assert script.log[:3] == ["stop a", "stop b", "stop c"]
    assert sorted(script.log[3:]) == ["start a", "start c"]
    assert {status.name: status.state for status in statuses} == {
        "a": State.STARTED,
        "b": State.FAILED,
        "c": State.STARTED,
    }
    assert exit_code(statuses) == 1


def test_everything_without_an_order_runs_side_by_side() -> None:
    barrier = threading.Barrier(10)

    class Meeting(Script):
        def _do(self, verb: str, at: Target, good: State) -> Status:
            # Nobody gets on before all ten are there.
            barrier.wait(20)
            return super()._do(verb, at, good)

    one, _ = manager(Meeting())
    many = targets(**{f"c{number}": "" for number in range(10)})
    for statuses in (one.start(many), one.status(many), one.stop(many)):
        assert not exit_code(statuses)
        assert len(statuses) == 10


def test_a_hundred_contexts_do_not_all_begin_at_once() -> None:
    lock = threading.Lock()
    now, most = 0, 0

    class Counting(Script):
        def _do(self, verb: str, at: Target, good: State) -> Status:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            status = super()._do(verb, at, good)
            with lock:
                now -= 1
            return status

    one, _ = manager(Counting())
    assert len(one.start(targets(**{f"c{number}": "" for number in range(100)}))) == 100
    assert most <= 32


def test_status_does_not_wait_for_any_order() -> None:
    script = Script()
    one, _ = manager(script)
    assert [status.state for status in one.status(targets(a="b", b="a"))] == [State.RUNNING] * 2


def test_fault_29_a_program_that_fails_among_good_ones(home: Path) -> None:
    config = config_in(home, front=talker("front", peers=["back"]), back=talker("back"), bad=dying())
    link, seen = TextLink(), list[Status]()
    one = Manager(
        Controller(Launcher(config, link, times=QUICK), ScriptedRemote(), link, seen.append, times=QUICK), seen.append
    )
    all_of_them = [target(config, name) for name in config.contexts]
    started = one.start(all_of_them)
    assert [status.state for status in started] == [State.STARTED, State.STARTED, State.FAILED]
    assert exit_code(started) == 1
    assert "something is wrong" in started[2].detail
    final = [status.name for status in seen if status.state.final]
    assert final.index("back") < final.index("front")
    stopped = one.stop(all_of_them)
    assert [status.state for status in stopped] == [State.STOPPED, State.STOPPED, State.OFFLINE]
