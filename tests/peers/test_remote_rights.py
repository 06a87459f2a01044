"""What others may do to a context that does not let them, and what the log tells of who did it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InvalidOperationException
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
from qmi.proc.control_client import SocketLink
from qmi.proc.control_protocol import StopRefusedError
from tests.support.lab import address, config, make_context


class Plain(QMI_Instrument):
    @rpc_method
    def add(self, a: int, b: int) -> int:
        return a + b


@pytest.fixture(params=[True, False], ids=["allowed", "refused"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[QMI_Context, QMI_Context, bool]]:
    rights = {"allow_remote_shutdown": request.param, "allow_remote_force_unlock": request.param}
    with make_context("srv", context=rights) as there, make_context("cli") as here:
        there.make_instrument("dev", Plain)
        here.connect_to_peer("srv", address(there))
        yield there, here, request.param


WHO = rf"context 'cli' \(127\.0\.0\.1:\d+, pid {os.getpid()}\)"


@pytest.mark.parametrize("hard", [False, True])
def test_shutdown_by_another_context_is_told_with_who_or_refused(
    pair: tuple[QMI_Context, QMI_Context, bool], caplog: pytest.LogCaptureFixture, hard: bool
) -> None:
    there, here, allowed = pair
    if hard and allowed:
        pytest.skip("it would end the tests")
    proxy = here.make_peer_context_proxy("srv")
    if allowed:
        proxy.shutdown_context()
        assert there.shutdown_requested()
        assert re.search(rf"Context srv is asked to shut down by {WHO}", caplog.text)
    else:
        with pytest.raises(QMI_InvalidOperationException, match=r"contexts\.srv\.allow_remote_shutdown is false"):
            proxy.shutdown_context(hard=hard)
        assert not there.shutdown_requested()
        assert re.search(rf"Context srv refused to be shut down by {WHO}", caplog.text)


def test_shutdown_by_the_context_itself_is_always_allowed(
    pair: tuple[QMI_Context, QMI_Context, bool], caplog: pytest.LogCaptureFixture
) -> None:
    there = pair[0]
    there.make_peer_context_proxy("srv").shutdown_context()
    assert there.shutdown_requested()
    assert "Context srv is asked to shut down by context 'srv' itself" in caplog.text


def test_forced_unlocking_by_another_context_is_allowed_or_refused(
    pair: tuple[QMI_Context, QMI_Context, bool], caplog: pytest.LogCaptureFixture
) -> None:
    there, here, allowed = pair
    mine = there.get_rpc_object("dev")
    assert mine.lock()
    other = here.get_rpc_object("srv.dev")
    if allowed:
        other.force_unlock()
        assert not mine.is_locked()
        assert re.search(rf"srv\.dev: {WHO} took the lock from context 'srv'", caplog.text)
    else:
        with pytest.raises(QMI_InvalidOperationException, match=r"contexts\.srv\.allow_remote_force_unlock is false"):
            other.force_unlock()
        assert mine.is_locked()
        assert re.search(rf"srv\.dev: forced unlocking by {WHO} was refused", caplog.text)
    there.get_rpc_object("dev").force_unlock()  # who may configure a context may do this in it
    assert not mine.is_locked()
    assert other.add(1, 2) == 3


def test_process_manager_learns_that_it_may_not_stop_a_context(pair: tuple[QMI_Context, QMI_Context, bool]) -> None:
    there, _, allowed = pair
    link, where = SocketLink(config()), there.async_context.connections._connector.own_address
    host, _, port = where.rpartition(":")
    from qmi.names import HostPort

    if allowed:
        assert link.request_stop("srv", HostPort(host, int(port)), hard=False, timeout=10)
    else:
        with pytest.raises(StopRefusedError, match="allow_remote_shutdown"):
            link.request_stop("srv", HostPort(host, int(port)), hard=False, timeout=10)
    assert there.shutdown_requested() is allowed
