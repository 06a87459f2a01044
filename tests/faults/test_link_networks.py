"""Rows of the fault table that need a network of their own: pulled cables, floods, TLS between two machines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmi.tools.certs import make_ca, make_certificate
from tests.support.lab import SERVER
from tests.support.netns import Cable, Side, cable
from tests.support.programs import Program, RemoteFailure
from tests.support.waiting import wait_until

NETWORK = SERVER + "from qmi.config.schema import CfgSecurity, CfgDiscovery\n"


@pytest.fixture
def wire() -> Iterator[Cable]:
    with cable() as made:
        yield made


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    make_ca(folder)
    for name in ("left", "right"):
        make_certificate(folder, name, workgroup="lab")
    make_certificate(folder, "foreign", workgroup="other")
    return folder


def start(program: Program, name: str, side: Side, security: str = "None", extra: str = "") -> None:
    """Start a context with a bench that listens on the cable."""
    program.run(NETWORK)
    program.run(
        f"cfg = config({name!r}, host={side.host!r}, workgroup='lab', peer_timeout=1.5, security={security}{extra})\n"
        f"cfg.discovery.broadcast_addresses.append('{Cable.broadcast}')\n"
        "cfg.discovery.port = 35999\n"
        f"c = QMI_Context({name!r}, cfg)\nc.start()\nbench = c.make_instrument('bench', Bench)"
    )


def security(lab: Path, name: str) -> str:
    return f"CfgSecurity(ca='{lab}/ca.pem', certificate='{lab}/{name}.pem', key='{lab}/{name}.key')"


@pytest.mark.slow
def test_two_machines_find_each_other_connect_with_tls_and_survive_their_cable(wire: Cable, lab: Path) -> None:
    with Program(wire.left.prefix) as left, Program(wire.right.prefix) as right:
        start(left, "left", wire.left, security(lab, "left"))
        start(right, "right", wire.right, security(lab, "right"))
        found = right.run("[tuple(d) for d in c.discover_peer_contexts()]")
        assert found == [("left", f"10.213.7.1:{left.run('c.get_tcp_server_port()')}")]
        right.run("c.connect_to_peer('left', reconnect=True)\nb = c.get_instrument('left.bench')")
        assert right.run("b.echo(1)") == 1
        assert right.run("b.echo(bytes(3_000_000)) == bytes(3_000_000)")
        assert right.run("b.lock()")
        right.begin("b.block()")
        wire.pull()
        pulled = time.monotonic()
        with pytest.raises(RemoteFailure, match=r"OutcomeUnknown.*no sign of life") as caught:
            right.result(15)
        assert "peer 'left' at 10.213.7.1" in caught.value.text
        assert time.monotonic() - pulled < 3
        # Row 4: both ends know, and the server has dropped the lock.
        left.wait_until("not actor_of(c, 'bench').lock_manager.is_locked and not c.has_peer_context('right')")
        wire.plug()
        right.wait_until("c.has_peer_context('left')", 20)
        left.run("c.async_context.registry.get('bench').object.gate.set()")
        with pytest.raises(RemoteFailure, match="LockLost"):
            right.run("b.echo(2)")
        assert right.run("b.echo(2)") == 2
        assert "again, which was resumed" in right.errors


@pytest.mark.slow
def test_fault_04_a_pulled_cable_is_noticed_at_both_ends(wire: Cable) -> None:
    with Program(wire.left.prefix) as left, Program(wire.right.prefix) as right:
        start(left, "left", wire.left)
        start(right, "right", wire.right)
        right.run("c.connect_to_peer('left')\nb = c.get_instrument('left.bench')\nassert b.lock()")
        wire.pull()
        pulled = time.monotonic()
        left.wait_until("not actor_of(c, 'bench').lock_manager.is_locked and not c.has_peer_context('right')")
        right.wait_until("not c.has_peer_context('left')")
        assert time.monotonic() - pulled < 3
        with pytest.raises(RemoteFailure, match="NotDelivered"):
            right.run("b.echo(1)")
        assert left.errors.count("unlocked, because context 'right'") == 1


def test_context_without_tls_warns_once_that_everybody_can_use_it(wire: Cable) -> None:
    with Program(wire.left.prefix) as left:
        start(left, "left", wire.left)
        assert left.errors.count("without TLS") == 1


@pytest.mark.slow
def test_fault_36_a_flood_of_udp_stops_nobody(wire: Cable) -> None:
    flood = (
        "import random, socket, time\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)\n"
        "r = random.Random(1)\n"
        "end = time.monotonic() + 3\n"
        "sent = 0\n"
        "while time.monotonic() < end:\n"
        "    for _ in range(50):\n"
        "        kind = r.choice([b'', b'QMI?\\x01', b'QMI!\\x01', b'STOP', b'KILL left'])\n"
        f"        s.sendto(kind + r.randbytes(r.randrange(1400)), ('{Cable.broadcast}', 35999))\n"
        "    sent += 50\n"
        "    time.sleep(0.002)\n"
        "sent"
    )
    with Program(wire.left.prefix) as left, Program(wire.right.prefix) as right, Program(wire.right.prefix) as bad:
        start(left, "left", wire.left)
        start(right, "right", wire.right)
        right.run("c.connect_to_peer('left')\nb = c.get_instrument('left.bench')")
        bad.begin(flood)
        found = []
        for number in range(5):
            begun = time.monotonic()
            found += right.run("[d.name for d in c.discover_peer_contexts()]")
            assert time.monotonic() - begun < 1
            assert right.run(f"b.echo({number})") == number
        assert set(found) == {"left"}, "a system that is busy loses some of the questions, not all of them"
        assert bad.result() > 1000
        assert right.run("[d.name for d in c.discover_peer_contexts()]") == ["left"]
        assert left.run("c.has_peer_context('right')")
        assert left.errors.count("discovery") <= 1
        question = (
            "import socket\nfrom qmi.net.discovery.packets import *\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(5)\n"
            "q = write_question(Question(1, 'lab', '*'))\ns.sendto(q, ('10.213.7.1', 35999))\n"
            "a = s.recv(2000)\nlen(a) <= len(q)"
        )
        assert bad.run(question)
        assert bad.run("s.sendto(q[:60], ('10.213.7.1', 35999))\ns.settimeout(0.3)") is None
        with pytest.raises(RemoteFailure, match="timed out"):
            bad.run("s.recv(2000)")


@pytest.mark.parametrize("who", ["none", "foreign", "other ca"])
def test_fault_35_peer_that_cannot_prove_itself_is_refused_by_both(
    lab: Path, who: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from qmi.config.schema import CfgSecurity
    from qmi.core.exceptions import QMI_ConnectionException
    from tests.support.devices import Bench
    from tests.support.lab import address, make_context

    def files(folder: Path, name: str) -> CfgSecurity:
        return CfgSecurity(ca=f"{folder}/ca.pem", certificate=f"{folder}/{name}.pem", key=f"{folder}/{name}.key")

    make_ca(tmp_path)
    make_certificate(tmp_path, "right", workgroup="lab")
    theirs = {"none": CfgSecurity(), "foreign": files(lab, "foreign"), "other ca": files(tmp_path, "right")}[who]
    with make_context("left", workgroup="lab", security=files(lab, "left"), hello_timeout=2.0) as left:
        bench = left.make_instrument("bench", Bench)
        workgroup = "other" if who == "foreign" else "lab"
        with make_context("right", workgroup=workgroup, security=theirs, hello_timeout=2.0) as right:
            begun = time.monotonic()
            with pytest.raises(QMI_ConnectionException, match=r"'left' at 127.0.0.1:\d+ cannot be connected: .+"):
                right.connect_to_peer("left", address(left))
            assert time.monotonic() - begun < 5
            wait_until(lambda: "A connection from 127.0.0.1" in caplog.text)
        lines = [r for r in caplog.records if "A connection from 127.0.0.1" in r.getMessage()]
        assert len(lines) == 1
        assert bench.notes() == []
        with make_context("right", workgroup="lab", security=files(lab, "right")) as good:
            good.connect_to_peer("left", address(left))
            assert good.get_instrument("left.bench").echo(1) == 1
            assert good.get_instrument("left.bench").echo(bytes(1_000_000)) == bytes(1_000_000)
