"""What proxies say of names that an object does not offer: read, assigned to, at any view and at channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.core.driver import QMI_Instrument, rpc_method
from qmi.core.exceptions import QMI_UnknownRpcException
from tests.support.parameters import Supply

VIEWS: list[Callable[[Any], Any]] = [lambda psu: psu, lambda psu: psu.rpc_async, lambda psu: psu.rpc_nonblocking]


def part_of(psu: Any, path: str) -> Any:
    """The proxy, or what it has of a name."""
    name, _, index = path.partition("[")
    part = getattr(psu, name) if name else psu
    return part[int(index[:-1])] if index else part


@pytest.fixture(params=VIEWS, ids=["blocking", "async", "nonblocking"])
def psu(request: pytest.FixtureRequest, lab: QMI_Context) -> Any:
    return request.param(lab.make_instrument("psu", Supply))


@pytest.mark.parametrize(
    ("part", "name", "text"),
    [
        ("", "voltgae", "Supply lab.psu has no parameter 'voltgae'. Did you mean 'voltage'?"),
        ("", "get_voltgae", "Supply lab.psu has no parameter 'get_voltgae'. Did you mean 'voltage'?"),
        ("", "zzz", "Supply lab.psu has no parameter 'zzz', and a proxy keeps no values of its own"),
        ("channels[2]", "voltgae", "channels[2] of lab.psu has no parameter 'voltgae'. Did you mean 'voltage'?"),
        ("channels[2]", "mode", "channels[2] of lab.psu has no parameter 'mode'; the instrument, lab.psu, has it"),
        ("channels[2]", "zzz", "channels[2] of lab.psu has no parameter 'zzz', and a proxy keeps no values of its own"),
        (
            "channels",
            "voltage",
            (
                "channels of lab.psu are several, and have no 'voltage' together. "
                "That of one of them is channels[1].voltage"
            ),
        ),
        ("channels", "zzz", "channels of lab.psu are several, and have no 'zzz' together"),
        ("parameters", "voltgae", "lab.psu has no parameter 'voltgae'. Did you mean 'voltage'?"),
    ],
)
def test_unknown_name_that_is_assigned_to(psu: Any, part: str, name: str, text: str) -> None:
    target = part_of(psu, part)
    with pytest.raises(QMI_UnknownRpcException) as caught:
        setattr(target, name, 5)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("part", "name", "text"),
    [
        ("", "get_voltage", "get_voltage of lab.psu is a method, which is called: nothing can be assigned to it"),
        ("", "lock", "lock of lab.psu is a method, which is called: nothing can be assigned to it"),
        ("", "channels", "channels of lab.psu is always there: nothing can be assigned to it"),
        ("", "sig_changed", "sig_changed of lab.psu is always there: nothing can be assigned to it"),
        ("channels[1]", "ramp", "ramp of channels[1] of lab.psu is a method, which is called: nothing can be"),
        ("channels[1]", "number", "number of channels[1] of lab.psu is always there: nothing can be assigned to it"),
        ("parameters", "voltage", "write proxy.voltage = ... or proxy.parameters.voltage.set(...)"),
    ],
)
def test_name_of_something_else_that_is_assigned_to(lab: QMI_Context, part: str, name: str, text: str) -> None:
    psu: Any = lab.make_instrument("psu", Supply)
    target = part_of(psu, part)
    with pytest.raises(AttributeError) as caught:
        setattr(target, name, 5)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("part", "name", "text"),
    [
        ("", "voltgae", "Supply lab.psu has no parameter or published method 'voltgae'. Did you mean 'voltage'?"),
        ("channels[1]", "snapshot", "published method 'snapshot'; the instrument, lab.psu, has it"),
        ("channels[1]", "voltgae", "published method 'voltgae'. Did you mean 'voltage'?"),
        ("channels", "voltage", "That of one of them is channels[1].voltage"),
        ("", "simulate_fault", "lab.psu is not simulated, and has no simulate_fault(): faults are those of simulated"),
    ],
)
def test_unknown_name_that_is_read(psu: Any, part: str, name: str, text: str) -> None:
    target = part_of(psu, part)
    with pytest.raises(QMI_UnknownRpcException) as caught:
        getattr(target, name)
    assert text in str(caught.value)
    assert not hasattr(target, name)


class Failing(QMI_Instrument):
    _rpc_properties = ("level",)
    level = 1

    @rpc_method  # type: ignore[prop-decorator]
    @property
    def gain(self) -> int:
        """Gain."""
        return 1

    @gain.setter
    def gain(self, value: int) -> None:
        raise AttributeError("the amplifier has no gain")


def test_setter_that_fails_with_an_attribute_error_is_heard(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Failing)
    with pytest.raises(AttributeError, match=r"^the amplifier has no gain"):
        x.gain = 5
    x.level = 3
    assert x.level == 3
    with pytest.raises(QMI_UnknownRpcException, match=r"Failing lab\.x has no property 'gian'\. Did you mean 'gain'\?"):
        x.gian = 5
