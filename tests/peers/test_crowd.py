"""Several programs that call the objects of one at the same time, as fast as they can."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from qmi.net.io.rush import Member, Rush
from tests.support.devices import Bench
from tests.support.lab import address, make_context

CLIENTS = 4
CALLS = 60


def test_programs_in_a_rush_get_their_answers_and_those_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.net.io.link._RUSH_TIME", 5.0)  # a rush on a busy machine, too
    together: list[int] = []
    add = Rush.add

    def noted(rush: Rush, member: Member) -> None:
        add(rush, member)
        together.append(len(rush))

    monkeypatch.setattr(Rush, "add", noted)
    at_once = threading.Barrier(CLIENTS)
    with make_context("srv") as srv, ExitStack() as stack:
        for name in ("one", "two"):
            srv.make_instrument(name, Bench)
        clients = [stack.enter_context(make_context(f"client{number}")) for number in range(CLIENTS)]
        for client in clients:
            client.connect_to_peer("srv", address(srv))

        def call(number: int) -> None:
            bench = clients[number].get_instrument(f"srv.{'one' if number % 2 else 'two'}")
            at_once.wait(10)
            for count in range(CALLS):
                value = (number, count)
                assert bench.echo(value) == value

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(call, range(CLIENTS)))
        assert max(together) >= 2, "no links were read together"
        assert all(client.network_failures() == {} for client in clients)
