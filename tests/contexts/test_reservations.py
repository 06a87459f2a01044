"""Who holds a lock, for what, in which program; and what the holder is told by those who want it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio

import qmi
from qmi.actors.context_object import ContextObject
from qmi.contexts.reservations import LockWords
from qmi.core.context import QMI_Context, ReleaseRequest
from qmi.core.exceptions import (
    QMI_InvalidOperationException,
    QMI_LockLostException,
    QMI_ObjectLockedException,
    QMI_UnknownRpcException,
    QMI_UsageException,
)
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
from qmi.messages import LockInfo
from qmi.runtime.identity import own_identity
from tests.support.lab import address, config, make_context
from tests.support.waiting import wait_until

ME = LockInfo("", "", 0.0, "", *own_identity()).who()
ALIGNMENT = "alignment until 18:00"


class Bench(QMI_Instrument):
    """Something that two want."""

    @rpc_method
    def use(self) -> int:
        """Use it."""
        return 1


class Amplifier(QMI_Instrument):
    """Has settings of such names."""

    @rpc_method
    def reserve(self) -> str:
        """The dynamic reserve."""
        return "high"

    @rpc_method
    def request_release(self) -> str:  # type: ignore[override]
        """Something else."""
        return "released"


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    with make_context("lab") as context:
        context.make_instrument("bench", Bench)
        yield context


@pytest.fixture
def alice(lab: QMI_Context) -> Iterator[QMI_Context]:
    with QMI_Context("alice", config()) as context:
        context.connect_to_peer("lab", address(lab))
        yield context


@pytest.fixture
def bob(lab: QMI_Context) -> Iterator[QMI_Context]:
    with QMI_Context("bob", config()) as context:
        context.connect_to_peer("lab", address(lab))
        yield context


@pytest.fixture(params=["reserve", "lock", "locked", "qmi.reserve", "qmi.locked"])
def way(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


def take(proxy: Any, way: str) -> Any:
    if way == "reserve":
        assert proxy.reserve(ALIGNMENT) is True
    elif way == "lock":
        assert proxy.lock(reason=ALIGNMENT) is True
    elif way == "qmi.reserve":
        assert qmi.reserve(proxy, ALIGNMENT) is True
    else:
        block = proxy.locked(reason=ALIGNMENT) if way == "locked" else qmi.locked(proxy, reason=ALIGNMENT)
        block.__enter__()
        return block
    return None


@pytest.mark.parametrize("holder", ["lab", "alice"])
@pytest.mark.parametrize("viewer", ["lab", "alice", "bob"])
def test_reservation_is_visible_to_everybody_with_who_and_for_what(
    holder: str, viewer: str, way: str, lab: QMI_Context, alice: QMI_Context, bob: QMI_Context, capsys: Any
) -> None:
    contexts = {"lab": lab, "alice": alice, "bob": bob}
    proxy = contexts[holder].get_instrument("lab.bench")
    block = take(proxy, way)
    other = contexts[viewer].get_instrument("lab.bench")
    info = other.lock_info()
    assert info is not None
    assert (info.context, info.label[:6], info.reason) == (holder, "$lock_", ALIGNMENT)
    assert (info.user, info.program, info.host) == own_identity()
    text = rf"context '{holder}' \(\$lock_\d+\) since [-\d]+ [:\d]+ UTC, {re.escape(ME)}, for '{ALIGNMENT}'"
    assert re.fullmatch(text, info.describe())
    if viewer != holder:
        with pytest.raises(QMI_ObjectLockedException, match=f"lab.bench is held by {text}"):
            other.use()
        with pytest.raises(QMI_ObjectLockedException, match=f"It is held by {text}"), other.locked():
            pass
    contexts[viewer].show_instruments()
    assert re.search(text, capsys.readouterr().out)
    if block is None:
        proxy.unlock()
    else:
        block.__exit__(None, None, None)
    assert other.lock_info() is None
    assert other.lock()
    assert other.lock_info().reason == ""  # the words go with the lock


async def test_reservation_of_a_trio_program_is_visible() -> None:
    async with qmi.open_context("lab", None, init_logging=False) as context:
        bench = await context.make_instrument("bench", Bench)
        assert await bench.reserve(ALIGNMENT)
        info = await bench.lock_info()
        assert info is not None
        assert info.reason == ALIGNMENT
        await bench.unlock()
        async with bench.locked(reason="a scan"):
            assert (await qmi.lock_info(bench)).reason == "a scan"  # type: ignore[union-attr]
        assert await qmi.request_release(bench) is None
        assert await qmi.reserve(bench, "x")
        await bench.force_unlock(reason="y")
        assert await bench.is_locked() is False


def test_block_within_a_reservation_is_a_part_of_it(lab: QMI_Context, alice: QMI_Context) -> None:
    bench = alice.get_instrument("lab.bench")
    bench.reserve(ALIGNMENT)
    with bench.locked():
        assert lab.get_instrument("lab.bench").lock_info().reason == ALIGNMENT
        with bench.locked(reason="one step"):
            assert lab.get_instrument("lab.bench").lock_info().reason == "one step"
    assert lab.get_instrument("lab.bench").lock_info().reason == ALIGNMENT


def test_reservation_that_is_not_granted_changes_no_words(lab: QMI_Context, alice: QMI_Context) -> None:
    lab.get_instrument("lab.bench").reserve(ALIGNMENT)
    assert alice.get_instrument("lab.bench").reserve("mine") is False
    assert alice.get_instrument("lab.bench").lock_info().reason == ALIGNMENT


@pytest.mark.parametrize("reason", ["", "  ", 5, b"x"])
def test_reservation_needs_a_reason(reason: Any, lab: QMI_Context) -> None:
    bench = lab.get_instrument("lab.bench")
    for refused in (bench.reserve, lambda text: bench.lock(reason=text), lambda text: bench.locked(reason=text)):
        with pytest.raises(QMI_UsageException, match="reason must be a text that says for what, got"):
            refused(reason)
    assert not bench.is_locked()


def test_words_are_short_and_printable(lab: QMI_Context, alice: QMI_Context) -> None:
    alice.get_instrument("lab.bench").reserve("\x1b[2Jx" * 200)
    reason = lab.get_instrument("lab.bench").lock_info().reason
    assert reason.startswith("\\x1b[2Jx")
    assert len(reason) < 1000
    with pytest.raises(Exception, match="must be texts"):
        alice.make_peer_context_proxy("lab").note_lock("bench", 5)
    assert lab.get_instrument("lab.bench").lock_info().reason == reason


def test_words_of_somebody_who_does_not_hold_the_lock_are_not_taken(lab: QMI_Context, bob: QMI_Context) -> None:
    lab.get_instrument("lab.bench").reserve(ALIGNMENT)
    assert bob.make_peer_context_proxy("lab").note_lock("bench", "mine") is False
    assert bob.make_peer_context_proxy("lab").note_lock("nothing", "mine") is False
    assert lab.get_instrument("lab.bench").lock_info().reason == ALIGNMENT


def test_driver_with_methods_of_these_names_keeps_them(lab: QMI_Context) -> None:
    amplifier = lab.make_instrument("amplifier", Amplifier)
    assert amplifier.reserve() == "high"
    assert amplifier.request_release() == "released"
    assert qmi.reserve(amplifier, ALIGNMENT)
    info = amplifier.lock_info()
    assert info is not None
    assert info.reason == ALIGNMENT
    assert "$lock_1" in (qmi.request_release(amplifier) or "")


# Asking for it


@pytest.mark.parametrize("holder", ["lab", "alice"])
def test_request_for_a_release_is_told_to_the_holder(
    holder: str, lab: QMI_Context, alice: QMI_Context, bob: QMI_Context, caplog: pytest.LogCaptureFixture
) -> None:
    context = {"lab": lab, "alice": alice}[holder]
    heard: list[ReleaseRequest] = []
    done = threading.Event()

    def note(request: ReleaseRequest) -> None:
        heard.append(request)
        done.set()

    context.on_lock_request(lambda request: 1 / 0)  # a handler that fails keeps no other from being called
    context.on_lock_request(note)
    context.get_instrument("lab.bench").reserve(ALIGNMENT)
    told = bob.get_instrument("lab.bench").request_release("the sample is warm")
    assert re.fullmatch(rf"context '{holder}' \(\$lock_\d+\) since .*, for '{ALIGNMENT}'", told)
    assert done.wait(10.0)
    [request] = heard
    assert (request.address, request.reason, request.taken) == ("lab.bench", "the sample is warm", False)
    assert re.fullmatch(rf"context 'bob' \(.*, pid \d+\), {re.escape(ME)}", request.by)
    assert f"{request.by} asks for the lock on lab.bench: the sample is warm" in caplog.text
    assert context.get_instrument("lab.bench").is_locked()


def test_request_for_the_release_of_what_nobody_holds_tells_nobody(lab: QMI_Context, bob: QMI_Context) -> None:
    assert bob.get_instrument("lab.bench").request_release() is None
    assert lab.get_instrument("lab.bench").request_release("now") is None


# Taking it


@pytest.mark.parametrize("reason", ["he went home", None])
def test_former_holder_is_told_at_once_by_whom_and_why(
    reason: str | None, lab: QMI_Context, alice: QMI_Context, bob: QMI_Context, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[ReleaseRequest] = []
    alice.on_lock_request(heard.append)
    bench = alice.get_instrument("lab.bench")
    bench.reserve(ALIGNMENT)
    bob.get_instrument("lab.bench").force_unlock(*([] if reason is None else [reason]))
    assert wait_until(lambda: heard)
    assert (heard[0].address, heard[0].reason, heard[0].taken) == ("lab.bench", reason or "", True)
    assert heard[0].by.startswith("context 'bob' (")
    assert (ME in heard[0].by) is (reason is not None)
    assert "has taken the lock on lab.bench" in caplog.text
    with pytest.raises(QMI_LockLostException) as caught:
        bench.use()
    assert "context 'bob'" in str(caught.value)
    assert (reason is None) or reason in str(caught.value)


def test_force_unlock_with_a_reason_needs_the_right_to_do_so(caplog: pytest.LogCaptureFixture) -> None:
    with (
        make_context("lab", context={"allow_remote_force_unlock": False}) as lab,
        QMI_Context("bob", config()) as bob,
    ):
        bench = lab.make_instrument("bench", Bench)
        bob.connect_to_peer("lab", address(lab))
        bench.lock()
        with pytest.raises(QMI_InvalidOperationException, match="does not let other contexts force its locks"):
            bob.get_instrument("lab.bench").force_unlock(reason="now")
        assert bench.is_locked()
        bench.force_unlock(reason="now")
        assert not bench.is_locked()


# Older versions


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose ``$context`` does not know of all this, as those of before."""
    from qmi.actors.actor import Actor

    find = Actor.method

    def method(self: Actor, name: str) -> Any:
        if name in ("note_lock", "lock_words", "request_lock_release", "force_unlock_object", "told_of_lock"):
            raise QMI_UnknownRpcException(f"no published method {name!r}")
        return find(self, name)

    for name in ("note_lock", "lock_words", "request_lock_release", "force_unlock_object", "told_of_lock"):
        monkeypatch.delattr(ContextObject, name)
    monkeypatch.setattr(Actor, "method", method)


def test_lock_of_an_older_program_is_taken_without_words(older: None, lab: QMI_Context, bob: QMI_Context) -> None:
    bench = bob.get_instrument("lab.bench")
    assert bench.reserve(ALIGNMENT)
    assert bench.lock_info().reason == ""
    with bench.locked(reason="x"):
        assert bench.use() == 1
    with pytest.raises(QMI_InvalidOperationException, match="runs an older version of this library"):
        bench.request_release()
    bob.show_instruments()
    bench.force_unlock(reason="x")
    assert not bench.is_locked()


def test_what_goes_over_a_link_of_a_lock_is_what_older_versions_know(lab: QMI_Context) -> None:
    lab.get_instrument("lab.bench").reserve(ALIGNMENT)
    info = lab.get_instrument("lab.bench").lock_info()
    assert len(info) == 3
    assert LockInfo._fields == ("context", "label", "since")
    assert LockWords.of("a", "b", "c", "d").who() == "b in c on d"


async def test_request_for_a_release_is_cancelled_as_anything(trio_lab: Any) -> None:
    bench = await trio_lab.make_instrument("bench", Bench)
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.request_release()
    assert scope.cancelled_caught
