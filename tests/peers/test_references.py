from __future__ import annotations

import pytest

from qmi.core.exceptions import QMI_NotDeliveredException
from qmi.peers.references import Interfaces
from tests.support.devices import Bench
from tests.support.lab import address, make_context
from tests.support.links import Lab


def test_proxies_arrive_as_proxies_of_the_same_object(lab: Lab) -> None:
    mine = lab.here.make_instrument("mine", Bench)
    assert lab.bench.describe(mine) == "BenchProxy of here.mine"
    assert lab.bench.use(mine, "note", "hello") == 1
    assert mine.notes() == ["hello"]
    back = lab.bench.echo(mine)
    assert back.address == "here.mine"
    assert back.note("again") == 2
    own = lab.bench.own_proxy()
    assert own.address == "there.bench"
    assert own.echo(5) == 5
    assert lab.bench.echo([{"p": mine}])[0]["p"].address == "here.mine"


def test_a_proxy_of_a_third_context_works_where_that_is_connected(lab: Lab) -> None:
    with make_context("third") as third:
        third.make_instrument("far", Bench)
        lab.there.connect_to_peer("third", address(third))
        far = lab.bench.proxy_of("third.far")
        assert far.address == "third.far"
        with pytest.raises(QMI_NotDeliveredException, match=r"connect_to_peer\('third'\)"):
            far.echo(1)
        lab.here.connect_to_peer("third", address(third))
        assert far.echo(1) == 1
        assert lab.bench.use(far, "echo", 2) == 2


def test_interfaces_that_a_peer_makes_up_are_not_kept_without_end() -> None:
    interfaces = Interfaces()
    for number in range(3000):
        interfaces.of([f"m.C{number}", "", "object", [], {}, [], [], []])
    assert len(interfaces._found) <= 2048, "each of them has classes of 8 KB or more"
    long = "x" * 100_000
    for number in range(100):
        interfaces.of([f"m.D{number}", long, "object", [], {}, [], [], []])
    assert len(interfaces._found) < 50
