"""Which clauses of older scripts catch what: a situation, and the classes that are named in their ``except``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import qmi
from qmi.config.schema import CfgContext, CfgQmi
from qmi.core import exceptions as errors
from qmi.core.context import QMI_Context
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from tests.support.drivers import Plain
from tests.support.lab import address, config, make_context


class Driver(Plain):
    sig = QMI_Signal([int])

    @rpc_method
    def hello(self) -> str:
        return "hello"


class Lab:
    """A server and a client, connected; an object that is there, one that was removed, and a context that stopped."""

    def __init__(self) -> None:
        self.server = make_context("server")
        self.client = QMI_Context("client", config())
        self.stopped = make_context("stopped")
        self.new = QMI_Context("new")
        for context in (self.server, self.client, self.stopped):
            context.start()
        for name in ("server", "stopped"):
            self.client.connect_to_peer(name, address(getattr(self, name)))
        self.here: Any = self.server.make_instrument("x", Driver)
        self.there: Any = self.client.get_instrument("server.x")
        self.gone_here: Any = self.server.make_instrument("gone", Driver)
        self.gone_there: Any = self.client.get_instrument("server.gone")
        self.server.remove_rpc_object(self.gone_here)
        self.stopped_here: Any = self.stopped.make_instrument("x", Driver)
        self.stopped_there: Any = self.client.get_instrument("stopped.x")
        self.stopped.stop()
        self.receiver = QMI_SignalReceiver()

    def close(self) -> None:
        self.client.stop()
        self.server.stop()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


def nobody_listens(lab: Lab) -> None:
    import socket

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        lab.client.connect_to_peer("nope", f"127.0.0.1:{unused.getsockname()[1]}")


DELIVERY = "QMI_MessageDeliveryException"
SITUATIONS: list[tuple[str, Callable[[Lab], Any], tuple[str, ...]]] = [
    ("call removed here", lambda lab: lab.gone_here.hello(), (DELIVERY, "QMI_ObjectRemovedException")),
    ("call removed there", lambda lab: lab.gone_there.hello(), (DELIVERY, "QMI_ObjectRemovedException")),
    ("lock removed here", lambda lab: lab.gone_here.lock(), (DELIVERY,)),
    ("lock removed there", lambda lab: lab.gone_there.lock(), (DELIVERY,)),
    ("is_locked removed here", lambda lab: lab.gone_here.is_locked(), (DELIVERY,)),
    ("unlock removed there", lambda lab: lab.gone_there.unlock(), (DELIVERY,)),
    ("future of removed here", lambda lab: lab.gone_here.rpc_nonblocking.hello().wait(10), (DELIVERY,)),
    ("future of removed there", lambda lab: lab.gone_there.rpc_nonblocking.hello().wait(10), (DELIVERY,)),
    ("remove twice", lambda lab: lab.server.remove_rpc_object(lab.gone_here), ("QMI_UnknownNameException",)),
    ("subscribe removed", lambda lab: lab.gone_here.sig.subscribe(lab.receiver), ("QMI_SignalSubscriptionException",)),
    (
        "subscribe removed there",
        lambda lab: lab.gone_there.sig.subscribe(lab.receiver),
        ("QMI_SignalSubscriptionException",),
    ),
    ("call in stopped", lambda lab: lab.stopped_here.hello(), (DELIVERY, "QMI_InvalidOperationException")),
    ("call to stopped", lambda lab: lab.stopped_there.hello(), (DELIVERY,)),
    ("lock in stopped", lambda lab: lab.stopped_here.lock(), (DELIVERY,)),
    ("make in stopped", lambda lab: lab.stopped.make_instrument("y", Driver), ("QMI_InvalidOperationException",)),
    ("connect in stopped", lambda lab: lab.stopped.connect_to_peer("a", "b:1"), ("QMI_InvalidOperationException",)),
    ("list in stopped", lambda lab: lab.stopped.list_rpc_objects(), (DELIVERY,)),
    ("stop twice", lambda lab: lab.stopped.stop(), ("QMI_UsageException",)),
    ("start again", lambda lab: lab.stopped.start(), ("QMI_UsageException",)),
    ("start twice", lambda lab: lab.server.start(), ("QMI_UsageException",)),
    ("get from stopped", lambda lab: lab.client.get_instrument("stopped.x"), (DELIVERY,)),
    ("make in new", lambda lab: lab.new.make_instrument("y", Driver), ("QMI_InvalidOperationException",)),
    ("connect in new", lambda lab: lab.new.connect_to_peer("a", "b:1"), ("QMI_InvalidOperationException",)),
    ("stop new", lambda lab: lab.new.stop(), ("QMI_UsageException",)),
    ("unknown object here", lambda lab: lab.server.get_instrument("y"), ("ValueError", "QMI_UnknownNameException")),
    ("unknown object there", lambda lab: lab.client.get_instrument("server.y"), ("ValueError",)),
    ("unknown context", lambda lab: lab.client.get_instrument("nope.x"), (DELIVERY,)),
    ("unknown peer", lambda lab: lab.client.connect_to_peer("nope"), ("QMI_UnknownNameException", "ConnectionError")),
    (
        "auto_connect to unknown",
        lambda lab: lab.client.get_instrument("nope.x", auto_connect=True),
        ("QMI_UnknownNameException",),
    ),
    ("disconnect unknown", lambda lab: lab.client.disconnect_from_peer("nope"), ("QMI_UnknownNameException",)),
    ("nobody listens", nobody_listens, ("ConnectionRefusedError", "OSError", "QMI_RuntimeException")),
    (
        "another name",
        lambda lab: lab.client.connect_to_peer("nope", address(lab.server)),
        ("QMI_RuntimeException",),
    ),
    ("no address", lambda lab: lab.client.connect_to_peer("nope", "127.0.0.1"), ("ValueError", "QMI_UsageException")),
    ("duplicate object", lambda lab: lab.server.make_instrument("x", Driver), ("QMI_DuplicateNameException",)),
    ("bad name", lambda lab: lab.server.make_instrument("x y", Driver), ("QMI_UsageException",)),
    ("no such method", lambda lab: lab.here.nothing(), ("AttributeError", "QMI_UnknownRpcException")),
    ("wrong arguments", lambda lab: lab.there.hello(1, 2), ("TypeError",)),
    ("no signal", lambda lab: lab.receiver.get_next_signal(), ("QMI_TimeoutException",)),
    ("foreign object", lambda lab: lab.client.remove_rpc_object(lab.there), ("QMI_UsageException",)),
    ("close closed", lambda lab: lab.there.close(), ("QMI_InvalidOperationException",)),
    (
        "missing file",
        lambda lab: qmi.start("a", "/nonexistent.conf"),
        ("FileNotFoundError", "QMI_ConfigurationException"),
    ),
    ("no context", lambda lab: qmi.make_instrument("x", Driver), ("QMI_NoActiveContextException",)),
]


@pytest.mark.parametrize(
    ("act", "classes"), [row[1:] for row in SITUATIONS], ids=[row[0] for row in SITUATIONS]
)  # fmt: skip
def test_error_is_caught_by_older_clauses(lab: Lab, act: Callable[[Lab], Any], classes: tuple[str, ...]) -> None:
    import builtins

    for name in classes:
        kind = getattr(errors, name, None) or getattr(builtins, name)
        with pytest.raises(kind):
            act(lab)


def test_locked_object_is_a_runtime_error(lab: Lab) -> None:
    other = lab.client.get_instrument("server.x")
    assert other.lock()
    for proxy in (lab.here, lab.there):
        with pytest.raises(errors.QMI_RuntimeException, match="The object is locked by another proxy"):
            proxy.hello()
    assert other.unlock()


def test_configuration_that_was_named_by_the_environment_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QMI_CONFIG", str(tmp_path / "missing.conf"))
    with pytest.raises(FileNotFoundError, match=r"missing\.conf \(from \$QMI_CONFIG\) does not exist"):
        qmi.start("a")
    assert CfgQmi(contexts={"a": CfgContext()}).contexts
