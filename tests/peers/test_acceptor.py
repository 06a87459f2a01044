"""What a context listens on for a name, and which program is meant by one."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qmi.config.schema import CfgContext
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_ConfigurationException, QMI_ConnectionException, QMI_UsageException
from qmi.net.discovery.packets import Answer, Question, read_answer, reply_to, write_answer, write_question
from qmi.net.io.listener import listen_everywhere
from tests.support.devices import Bench
from tests.support.lab import address, config, make_context

Hosts = Callable[..., None]


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """Gives names their addresses, as /etc/hosts does."""
    names: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        return [found for name in names.get(host, [host]) for found in real(name, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    def give(name: str, *addresses: str) -> None:
        names[name] = list(addresses)

    return give


def bound(host: str, port: int = 0) -> list[tuple[str, int]]:
    sockets = listen_everywhere(host, port)
    try:
        return [sock.getsockname()[:2] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_all_addresses_of_a_name_are_listened_on_at_one_port(hosts: Hosts, number: int) -> None:
    addresses = ["127.0.1.1", "127.0.0.1", "127.0.0.2"][:number]
    hosts("lab-pc", *addresses, *addresses)
    found = bound("lab-pc")
    assert [host for host, _ in found] == addresses
    assert len({port for _, port in found}) == 1
    port = found[0][1]
    assert bound("lab-pc", port) == [(host, port) for host in addresses]


@needs_ipv6
@pytest.mark.parametrize("addresses", [("::1", "127.0.0.1"), ("::", "0.0.0.0"), ("0.0.0.0", "::")])
def test_addresses_of_both_families_are_listened_on_at_one_port(hosts: Hosts, addresses: tuple[str, ...]) -> None:
    hosts("lab-pc", *addresses)
    found = bound("lab-pc")
    assert [host for host, _ in found] == list(addresses)
    assert len({port for _, port in found}) == 1


def test_a_port_that_is_taken_at_one_address_is_passed_over(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts("lab-pc", "127.0.0.1", "127.0.0.2")
    real, taken = socket.socket.bind, list[int]()

    def bind(self: socket.socket, where: Any) -> None:
        if where[0] == "127.0.0.2" and len(taken) < 3:
            taken.append(where[1])
            raise OSError(98, "Address already in use")
        real(self, where)

    monkeypatch.setattr("qmi.net.io.listener.errno.EADDRINUSE", 98)
    monkeypatch.setattr(socket.socket, "bind", bind)
    found = bound("lab-pc")
    assert [host for host, _ in found] == ["127.0.0.1", "127.0.0.2"]
    assert len(taken) == 3
    assert found[0][1] == found[1][1]


def test_a_port_in_use_at_one_address_is_refused_and_nothing_stays_open(hosts: Hosts) -> None:
    hosts("lab-pc", "127.0.0.1", "127.0.0.2")
    with socket.create_server(("127.0.0.2", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(QMI_UsageException, match=f"TCP port {port} on 127.0.0.2 is in use"):
            listen_everywhere("lab-pc", port)
        socket.create_server(("127.0.0.1", port)).close()


def test_addresses_that_this_machine_does_not_have_are_left_out(hosts: Hosts) -> None:
    hosts("lab-pc", "198.51.100.7", "127.0.0.1")
    assert [host for host, _ in bound("lab-pc")] == ["127.0.0.1"]
    hosts("far", "198.51.100.7", "198.51.100.8")
    with pytest.raises(QMI_ConfigurationException, match=r"Cannot listen on 198.51.100.8:0: "):
        listen_everywhere("far", 0)
    with pytest.raises(QMI_ConfigurationException, match=r"Cannot listen on host 'no-such-host.invalid'"):
        listen_everywhere("no-such-host.invalid", 0)


@pytest.mark.parametrize(
    ("name", "addresses", "warns"),
    [
        ("lab-pc", ["127.0.1.1"], True),
        ("lab-pc", ["127.0.1.1", "127.0.0.1"], True),
        ("localhost", ["127.0.0.1"], False),
        ("127.0.0.1", ["127.0.0.1"], False),
        ("127.0.1.1", ["127.0.1.1"], False),
    ],
)
def test_a_name_that_only_this_machine_can_reach_is_warned_about(
    hosts: Hosts, name: str, addresses: list[str], warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    hosts(name, *addresses)
    with make_context("lab", host=name) as lab, make_context("here") as here:
        lab.make_instrument("bench", Bench)
        for number, host in enumerate(addresses):
            here.connect_to_peer("lab", f"{host}:{lab.get_tcp_server_port()}")
            assert here.get_instrument("lab.bench").echo(number) == number
            here.disconnect_from_peer("lab")
        here.connect_to_peer("lab")  # found on this machine
    warnings = [r.getMessage() for r in caplog.records if "no other machine can reach it" in r.getMessage()]
    assert len(warnings) == warns
    if warns:
        assert f"which is what '{name}' stands for on this machine (see /etc/hosts)" in warnings[0]


@needs_ipv6
def test_localhost_that_is_ipv6_first_is_reached_by_both(hosts: Hosts, caplog: pytest.LogCaptureFixture) -> None:
    hosts("localhost", "::1", "127.0.0.1")
    with make_context("lab", host="localhost") as lab, make_context("here") as here:
        lab.make_instrument("bench", Bench)
        for host in ("[::1]", "127.0.0.1"):
            here.connect_to_peer("lab", f"{host}:{lab.get_tcp_server_port()}")
            assert here.get_instrument("lab.bench").echo(host) == host
            here.disconnect_from_peer("lab")
        here.connect_to_peer("lab")
    assert "no other machine" not in caplog.text


# Which one is meant


@pytest.fixture
def here() -> Iterator[QMI_Context]:
    with make_context("here") as context:
        yield context


@pytest.mark.slow
def test_programs_of_one_name_on_the_network_are_both_named(here: QMI_Context) -> None:
    with make_context("twin") as one, make_context("twin") as two:
        one.make_instrument("bench", Bench)
        for use in (
            lambda: here.connect_to_peer("twin"),
            lambda: here.get_instrument("twin.bench", auto_connect=True),
            lambda: here.async_context.run(here.async_context.get_instrument, "twin.bench", True).wait(10),
        ):
            with pytest.raises(QMI_ConnectionException, match="2 contexts on the network are called 'twin'") as caught:
                use()
            for context in (one, two):
                assert f"{address(context)} (pid " in str(caught.value)
        assert here.get_instrument("twin.bench", auto_connect=True, host_port=address(one)).echo(1) == 1
        # With a link there is no question any more.
        assert here.get_instrument("twin.bench", auto_connect=True).echo(2) == 2
        assert sorted(where for _, where in here.discover_peer_contexts()) == sorted([address(one), address(two)])
        own = {"twin": CfgContext(host="127.0.0.1", tcp_server_port=two.get_tcp_server_port())}
        with QMI_Context("client", config("client", contexts=own)) as client:
            client.connect_to_peer("twin")  # the configuration says which one


def test_program_that_answers_at_several_addresses_is_one(here: QMI_Context) -> None:
    with make_context("lab", host="0.0.0.0") as lab:
        lab.make_instrument("bench", Bench)
        cfg = here.get_config()
        cfg.discovery.broadcast_addresses += ["127.255.255.255", "127.0.0.1", "127.0.0.2"]
        assert here.get_instrument("lab.bench", auto_connect=True).echo(1) == 1


def test_a_context_does_not_find_itself_but_another_one_of_its_name_and_port(here: QMI_Context) -> None:
    with make_context("here", host="127.0.0.2", port=here.get_tcp_server_port()) as other:
        assert here.discover_peer_contexts() == [("here", f"127.0.0.2:{other.get_tcp_server_port()}")]


def test_answers_tell_programs_apart_also_those_of_older_versions() -> None:
    question = Question(7, "lab", "*")
    packet = write_question(question)
    common = {"name": "a", "workgroup": "lab", "host": "127.0.0.1", "port": 4000, "version": "1", "pid": 5}
    reply = reply_to(packet, asker_host="127.0.0.1", incarnation="abc", **common)  # type: ignore[arg-type]
    assert reply is not None
    answer = read_answer(reply, source_host="127.0.0.1", question=question)
    assert answer is not None
    assert answer.incarnation == "abc"
    old = write_answer(Answer(7, **common), 700)  # type: ignore[arg-type]
    assert old is not None
    assert read_answer(old, source_host="127.0.0.1", question=question) == Answer(7, **common)  # type: ignore[arg-type]
