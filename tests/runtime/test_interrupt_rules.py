from __future__ import annotations

import pytest

from qmi.runtime.interrupt_rules import (
    FINALIZER,
    RULES,
    RULES_FOR_THE_SECOND,
    Place,
    Runs,
    Then,
    who_runs,
    who_runs_in_trio,
)

WAIT = ("runtime/wakeup.py", "wait_on")
CALL = ("actors/call.py", "Handle.call_blocking")
CALLS_USER = ("actors/inline.py", "_run")
UNLOCK = ("actors/proxy.py", "QMI_RpcProxy.unlock")
EXIT = ("runtime/sigint.py", "SafeBlock.__exit__")

STACKS: dict[str, tuple[list[Place | None], Runs]] = {
    "a script": ([None], Runs.USER),
    "nothing": ([], Runs.USER),
    "a call": ([CALL, None], Runs.LIBRARY),
    "what a call calls": ([None, CALL, None], Runs.LIBRARY),
    "a wait in a call": ([WAIT, CALL, None], Runs.WAIT),
    "a method that the caller runs": ([None, None, CALLS_USER, CALL, None], Runs.USER),
    "what calls that method": ([CALLS_USER, CALL, None], Runs.LIBRARY),
    "a call in such a method": ([CALL, None, CALLS_USER, CALL, None], Runs.LIBRARY),
    "the beginning of an unlock": ([UNLOCK, None], Runs.RELEASE),
    "a step of an unlock": ([CALL, UNLOCK, None], Runs.RELEASE),
    "a wait in an unlock": ([WAIT, CALL, UNLOCK, None], Runs.RELEASE_WAIT),
    "what contextlib does at an exit": ([None, EXIT, None], Runs.RELEASE),
    "an unlock at an exit": ([CALL, UNLOCK, None, EXIT, None], Runs.RELEASE),
    "a close that the caller runs at an exit": ([None, CALLS_USER, CALL, None, EXIT, None], Runs.RELEASE_WAIT),
    "a finalizer": ([FINALIZER, None], Runs.RELEASE_WAIT),
    "what a finalizer calls": ([None, FINALIZER, CALL, None], Runs.RELEASE_WAIT),
    "a call in a finalizer": ([CALL, FINALIZER, None], Runs.RELEASE),
    "a wait in a finalizer": ([WAIT, CALL, FINALIZER, None], Runs.RELEASE_WAIT),
    "a lock in a method that an exit calls": ([WAIT, CALL, None, CALLS_USER, EXIT, None], Runs.RELEASE_WAIT),
}


@pytest.mark.parametrize(("stack", "runs"), STACKS.values(), ids=STACKS)
def test_stack_says_who_runs(stack: list[Place | None], runs: Runs) -> None:
    assert who_runs(stack) is runs


@pytest.mark.parametrize(
    ("stack", "protected", "runs"),
    [
        ([None], True, Runs.TRIO),
        ([CALL, None], True, Runs.TRIO),
        ([None], False, Runs.TRIO_USER),
        ([CALL, None], False, Runs.TRIO_LIBRARY),
        ([None, EXIT, None], False, Runs.TRIO_LIBRARY),
        ([WAIT, CALL, None], False, Runs.TRIO_LIBRARY),
    ],
)
def test_stack_in_a_trio_run_says_who_runs(stack: list[Place | None], protected: bool, runs: Runs) -> None:
    assert who_runs_in_trio(stack, protected=protected) is runs


def test_rules_cover_everybody_and_nothing_is_raised_in_a_step_of_the_library() -> None:
    assert set(RULES) == set(RULES_FOR_THE_SECOND) == set(Runs)
    for rules in (RULES, RULES_FOR_THE_SECOND):
        raising = {runs for runs, then in rules.items() if then is Then.RAISE}
        assert raising.isdisjoint({Runs.LIBRARY, Runs.RELEASE, Runs.TRIO, Runs.TRIO_LIBRARY})
    assert RULES[Runs.RELEASE_WAIT] is Then.AFTER
    assert RULES_FOR_THE_SECOND[Runs.RELEASE_WAIT] is Then.RAISE
