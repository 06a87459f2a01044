"""Channels of which an instrument has fewer than its class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.core.driver import Channel, QMI_Instrument, channels, parameter, rpc_method
from qmi.core.exceptions import QMI_InvalidValueException, QMI_UnknownNameException, QMI_UsageException


class Output(Channel):
    voltage = parameter("SOUR{n}:VOLT", float, unit="V")

    @rpc_method
    def number_of_it(self) -> int:
        return self.number


class Supply(QMI_Instrument):
    outputs = channels(Output, 1, 4, present=lambda supply: supply.last)

    def __init__(self, context: Any, name: str, last: Any = 4) -> None:
        super().__init__(context, name)
        self.last = last

    def _read_parameter(self, parameter: Any, channel: Any) -> float:
        return float(channel.number)

    def _write_parameter(self, parameter: Any, value: Any, channel: Any) -> None:
        raise NotImplementedError


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    with QMI_Context("lab") as context:
        yield context


@pytest.mark.parametrize("last", [1, 2, 4])
def test_instrument_and_its_proxies_have_as_many_channels_as_it_says(lab: QMI_Context, last: int) -> None:
    supply: Any = lab.make_instrument("psu", Supply, last)
    names = [f"outputs[{number}].voltage" for number in range(1, last + 1)]
    for proxy in (supply, lab.get_instrument("psu")):
        assert len(proxy.outputs) == last
        assert [channel.number_of_it() for channel in proxy.outputs] == list(range(1, last + 1))
        assert list(proxy.parameters) == list(proxy.parameters()) == names
        with pytest.raises(QMI_InvalidValueException, match=f"numbers? 1( to {last})?; got {last + 1}"):
            proxy.outputs[last + 1]
        with pytest.raises(QMI_UnknownNameException):
            proxy.parameters[f"outputs[{last + 1}].voltage"]
    with supply:
        assert [reading.value for reading in supply.snapshot(update=True).values()] == list(range(1, last + 1))


def test_proxies_of_instruments_with_as_many_channels_are_of_one_class(lab: QMI_Context) -> None:
    one, two, other, whole = (lab.make_instrument(f"psu{n}", Supply, last) for n, last in enumerate([2, 2, 3, 4]))
    assert type(one) is type(two)
    assert len({type(one), type(other), type(whole)}) == 3
    assert [len(proxy.outputs) for proxy in (one, two, other, whole)] == [2, 2, 3, 4]


@pytest.mark.parametrize("last", [0, 5, True, "2", None, 1.0])
def test_number_of_channels_that_was_not_declared_is_refused(lab: QMI_Context, last: Any) -> None:
    message = rf"last of the outputs of psu must be one of the declared numbers 1 to 4; .* gave {last!r}"
    with pytest.raises(QMI_UsageException, match=message):
        lab.make_instrument("psu", Supply, last)
    assert len(lab.make_instrument("psu", Supply, 2).outputs) == 2
