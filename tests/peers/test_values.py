"""Values on a real link: what cannot be rebuilt ends its own call, and everything else goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from qmi.errors import QMI_RemoteException, QMI_ValueNotSendableException
from tests.support.lab import address, make_context


@dataclass
class Percent:
    value: float

    def __qmi_check__(self) -> None:
        if not 0 <= self.value <= 100:
            raise ValueError(f"value must be 0 to 100, got {self.value}")


class Meter(QMI_Instrument):
    sig = QMI_Signal([Percent])

    @rpc_method
    def get(self, value: float) -> Any:
        return {"deep": [Percent(value)]}

    @rpc_method
    def take(self, value: Any) -> str:
        return f"took {value}"

    @rpc_method
    def fail(self, value: float) -> None:
        raise RuntimeError("failed", Percent(value))

    @rpc_method
    def stream(self) -> Any:
        for value in (1.0, 200.0, 3.0):
            yield Percent(value)

    @rpc_method
    def publish(self, value: float) -> None:
        self.sig.publish(Percent(value))


@pytest.fixture
def meter() -> Iterator[Any]:
    with make_context("here") as here, make_context("there") as there:
        there.make_instrument("meter", Meter)
        here.connect_to_peer("there", address(there))
        yield here.get_instrument("there.meter")
        assert here.has_peer_context("there")


def test_result_that_its_author_refuses_fails_its_call_with_the_authors_message(meter: Any) -> None:
    assert meter.get(5.0) == {"deep": [Percent(5.0)]}
    with pytest.raises(
        QMI_ValueNotSendableException, match=r"result of meter.get .* value must be 0 to 100, got 200.0"
    ):
        meter.get(200.0)
    assert meter.get(6.0) == {"deep": [Percent(6.0)]}


def test_argument_that_its_author_refuses_is_answered_by_an_error(meter: Any) -> None:
    future = meter.rpc_nonblocking.take(Percent(1.0))
    with pytest.raises(QMI_ValueNotSendableException, match=r"arguments of meter.take .* got -1"):
        meter.take([Percent(-1)])
    assert future.wait() == "took Percent(value=1.0)"


def test_error_with_an_argument_that_its_author_refuses_fails_its_call(meter: Any) -> None:
    with pytest.raises(QMI_ValueNotSendableException, match=r"meter.fail failed, but its error cannot be rebuilt here"):
        meter.fail(200.0)
    with pytest.raises(RuntimeError, match="failed"):
        meter.fail(2.0)


def test_item_that_its_author_refuses_ends_its_stream(meter: Any) -> None:
    stream = meter.stream()
    assert next(stream) == Percent(1.0)
    with pytest.raises(QMI_ValueNotSendableException, match=r"An item of meter.stream cannot be rebuilt here"):
        next(stream)
    assert meter.get(5.0) == {"deep": [Percent(5.0)]}


@pytest.mark.filterwarnings("ignore")
def test_signal_that_its_author_refuses_is_dropped_and_counted(meter: Any) -> None:
    receiver = QMI_SignalReceiver()
    meter.sig.subscribe(receiver)
    for value in (1.0, 200.0, 3.0):
        meter.publish(value)
    found = [receiver.get_next_signal(timeout=10) for _ in range(2)]
    assert [signal.args for signal in found] == [(Percent(1.0),), (Percent(3.0),)]
    assert [signal.receiver_seqnr for signal in found] == [0, 2]
    assert receiver.dropped == 1


class Liar:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("no class")


@dataclass
class Trap:
    value: int

    def __getattribute__(self, name: str) -> Any:
        if name == "value":
            raise SystemExit(3)
        return super().__getattribute__(name)


class Ending(Exception):
    def __init__(self, kind: type[BaseException]) -> None:
        super().__init__(kind.__name__)
        self.kind = kind

    def __str__(self) -> str:
        raise self.kind("while it was printed")


class Odd(QMI_Instrument):
    sig = QMI_Signal([object])

    @rpc_method
    def lie(self) -> Any:
        return Liar()

    @rpc_method
    def trap(self) -> Any:
        return [Trap(1)]

    @rpc_method
    def publish(self) -> None:
        self.sig.publish([Trap(1)])

    @rpc_method
    def fail(self, kind: str) -> None:
        raise Ending({"exit": SystemExit, "leaving": GeneratorExit, "base": BaseException}[kind])

    @rpc_method
    def fail_in_groups(self) -> None:
        error: Exception = ValueError("core")
        for level in range(50):
            error = ExceptionGroup(f"level {level}", [error, error])
        raise error

    @rpc_method
    def ping(self) -> int:
        return 1


@pytest.fixture
def odd() -> Iterator[Any]:
    with make_context("here") as here, make_context("there") as there:
        there.make_instrument("odd", Odd)
        here.connect_to_peer("there", address(there))
        found = here.get_instrument("there.odd")
        yield found
        assert here.has_peer_context("there")
        assert found.ping() == 1


def test_value_whose_code_ends_programs_fails_its_call_alone(odd: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(QMI_ValueNotSendableException, match="RuntimeError: no class"):
        odd.lie()
    with pytest.raises(
        QMI_ValueNotSendableException, match=r"result\[0\] cannot be sent: reading it raised SystemExit"
    ):
        odd.trap()
    odd.publish()
    with pytest.raises(QMI_ValueNotSendableException, match="no class"):
        odd.rpc_nonblocking.ping(Liar()).wait()


@pytest.mark.parametrize("kind", ["exit", "leaving", "base"])
def test_error_whose_text_ends_programs_is_an_error_of_its_call_alone(odd: Any, kind: str) -> None:
    with pytest.raises(QMI_RemoteException, match="Ending that cannot be printed"):
        odd.fail(kind)


def test_error_of_groups_that_share_their_members_is_answered(odd: Any) -> None:
    with pytest.raises(ExceptionGroup, match="level 49"):
        odd.fail_in_groups()
