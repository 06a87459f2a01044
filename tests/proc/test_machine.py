from __future__ import annotations

import socket
from typing import Any

import pytest

from qmi.proc import local_hosts as machine
from qmi.proc.local_hosts import local_hosts, own_addresses
from qmi.proc.selection import is_local


def test_local_machine_knows_its_names_and_addresses() -> None:
    own = own_addresses()
    assert {"localhost", "127.0.0.1", socket.gethostname().lower()} <= own


def test_host_names_that_lead_here_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"alias": "127.0.1.1", "nic": "192.0.2.1", "six": "fe80::1%eth0", "away": "192.0.2.99"}
    asked: list[str] = []

    def look_up(host: str, *args: object, **kwargs: object) -> list[Any]:
        asked.append(host)
        if host not in answers:
            raise socket.gaierror(8, "unknown")
        return [(0, 0, 0, "", (answers[host], 0))]

    monkeypatch.setattr(machine, "own_addresses", lambda: frozenset({"localhost", "192.0.2.1", "fe80::1"}))
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    found = local_hosts(["ALIAS", "nic", "six", "away", "unknown", "localhost", "192.0.2.7", None, ""])
    assert found == {"localhost", "192.0.2.1", "fe80::1", "alias", "nic", "six"}
    assert sorted(asked) == ["alias", "away", "nic", "six", "unknown"]
    assert is_local("Alias", found)


@pytest.mark.parametrize("hosts", [[], [None, ""], ["localhost", "LOCALHOST"], ["127.0.0.1", "::1", None]])
def test_addresses_of_this_machine_are_not_looked_up_for_hosts_that_are_evident(
    monkeypatch: pytest.MonkeyPatch, hosts: list[str | None]
) -> None:
    def refuse(*args: object) -> frozenset[str]:
        raise AssertionError("nobody needs them")

    monkeypatch.setattr(machine, "own_addresses", refuse)
    found = local_hosts([*hosts, socket.gethostname()])
    assert all(is_local(host, found) for host in hosts)


def test_a_name_that_is_no_name_is_not_this_machine() -> None:
    assert "x" * 300 not in local_hosts(["x" * 300])
