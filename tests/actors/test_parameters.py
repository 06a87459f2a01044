"""Parameters of objects, as drivers declare them and as proxies see them."""

from __future__ import annotations

import pydoc
import sys
from collections.abc import Iterator
from typing import Any

import pint
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qmi
from qmi.actors.call import Handle
from qmi.actors.interface_plain import interface_from_plain, interface_to_plain
from qmi.actors.proxy import make_view
from qmi.actors.rpc_object import interface_of
from qmi.core.context import Context, QMI_Context
from qmi.core.driver import Change, Parameter, ParameterInfo, Reading
from qmi.core.exceptions import (
    QMI_Exception,
    QMI_InvalidValueException,
    QMI_ObjectLockedException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from qmi.core.rpc import AsyncProxy, QMI_RpcNonBlockingProxy, QMI_RpcProxy
from qmi.messages import call_text
from qmi.names import Address
from qmi.net.codec import Codec
from qmi.net.protocol.packets import MINOR
from tests.support.lab import two_contexts
from tests.support.parameters import Laser, Mode, Supply


def test_parameter_is_read_and_set_by_a_proxy(lab: QMI_Context) -> None:
    psu = lab.make_instrument("psu", Supply)
    psu.voltage = 5
    assert psu.voltage == 5.0
    proxy: Any = psu
    assert type(proxy.voltage) is float
    psu.mode = Mode.CURRENT
    assert psu.mode is Mode.CURRENT
    assert psu.current == 0.25
    proxy.set_voltage(7.5)
    assert proxy.get_voltage() == 7.5
    assert proxy.rpc_nonblocking.get_voltage().wait() == 7.5
    assert isinstance(Supply.voltage, Parameter)


def test_parameter_refuses_what_is_out_of_its_limits(lab: QMI_Context) -> None:
    psu = lab.make_instrument("psu", Supply)
    with pytest.raises(QMI_InvalidValueException) as raised:
        psu.voltage = 31.0
    assert str(raised.value) == "voltage of psu must be from 0 to 30 V, got 31.0 V"
    with pytest.raises(QMI_UsageException, match="current of psu can only be read"):
        psu.current = 1.0


def test_parameter_of_a_getter_and_a_setter(lab: QMI_Context) -> None:
    laser = lab.make_instrument("laser", Laser)
    laser.power = 0.05
    assert laser.power == 0.05
    laser.wavelength = 1310
    assert laser.get_wavelength() == laser.wavelength == 1310.0
    with pytest.raises(QMI_InvalidValueException, match=r"power of laser must be from 0 to 0\.1 W, got 1\.0 W"):
        laser.set_power(1.0)


def test_parameters_are_listed_with_what_is_known_of_them(lab: QMI_Context) -> None:
    psu: Any = lab.make_instrument("psu", Supply)
    psu.voltage = 4.0
    infos = psu.parameters()
    assert infos["voltage"].limits == (0, 30)
    assert infos["protection"].limits == (4.0, 60)
    assert infos["channels[4].voltage"].unit == "V"
    assert (infos["current"].settable, infos["current"].command) == (False, "MEAS:CURR?")
    assert infos["mode"].values == ("VOLT", "CURR")
    assert infos["channels[4].voltage"].command == "SOUR4:VOLT"


@pytest.fixture(params=["here", "in another program"])
def supply(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A blocking proxy of a supply."""
    with two_contexts() as (server, client):
        here = server.make_instrument("psu", Supply)
        yield here if request.param == "here" else client.get_instrument("server.psu")


def test_channel_of_a_proxy_is_read_and_set(supply: Any) -> None:
    second = supply.channels[2]
    second.voltage = 3
    second.enabled = True
    assert (second.voltage, second.get_voltage(), supply.channels[1].voltage) == (3.0, 3.0, 0.0)
    second.set_voltage(4.0)
    assert second.ramp(8.0, steps=2) == [4.0, 8.0]
    assert second.voltage == 8.0
    assert ("SOUR2:VOLT", 8.0) in [tuple(pair) for pair in supply.get_exchanged()]
    with pytest.raises(QMI_InvalidValueException) as raised:
        second.voltage = -1.0
    assert str(raised.value) == "channels[2].voltage of psu must be from 0 to 30 V, got -1.0 V"
    with pytest.raises(QMI_InvalidValueException, match=r"channels of server\.psu has the numbers 1 to 4; got 9"):
        supply.channels[9]
    assert len(supply.channels) == 4
    assert [channel.number for channel in supply.channels] == [1, 2, 3, 4]
    with pytest.raises(AttributeError, match=r"or published method 'volltage'\. Did you mean 'voltage'"):
        second.volltage  # noqa: B018


def test_channel_of_a_proxy_that_returns_futures(supply: Any) -> None:
    third = supply.rpc_nonblocking.channels[3]
    third.voltage.set(2.5).wait()
    assert third.voltage.wait() == third.get_voltage().wait() == 2.5
    assert third.ramp(1.0).wait() == [0.5, 1.0]
    with pytest.raises(AttributeError, match=r"channels\[3\]\.voltage"):
        third.voltage = 1.0


async def test_channel_of_an_awaited_proxy(trio_lab: Context) -> None:
    psu: Any = await trio_lab.make_instrument("psu", Supply)
    await psu.channels[1].voltage.set(6.0)
    assert await psu.channels[1].voltage == await psu.channels[1].get_voltage() == 6.0
    assert await psu.channels[1].ramp(2.0, rpc_timeout=10.0) == [1.0, 2.0]
    assert [await channel.voltage for channel in psu.channels] == [2.0, 0.0, 0.0, 0.0]


def test_channel_has_the_lock_and_the_line_of_its_instrument(supply: Any) -> None:
    context = supply.__rpc__.router.facade
    other: Any = context.get_instrument("server.psu")
    with supply.locked():
        supply.channels[1].voltage = 1.0
        assert supply.channels[1].ramp(2.0) == [1.0, 2.0]
        with pytest.raises(QMI_ObjectLockedException):
            other.channels[1].voltage  # noqa: B018
        with pytest.raises(QMI_ObjectLockedException):
            other.channels[1].ramp(3.0)
        with pytest.raises(QMI_ObjectLockedException):
            other.parameters["channels[2].voltage"].set(1.0)
    assert other.channels[1].voltage == 2.0


def test_call_of_a_channel_is_named_in_messages() -> None:
    assert call_text("_channels.ramp", (2, 5.0)) == "channels[2].ramp()"
    assert call_text("_channels.ramp") == "channels.ramp()"
    assert call_text("__rpc_get__", ("channels[2].voltage",)) == "channels[2].voltage"
    assert call_text("__rpc_set__", ("channels[2].voltage", 1)) == "channels[2].voltage (set)"
    assert call_text("__rpc_get__", ("channels[\x1b].voltage",)) == "a property"


async def test_channel_that_would_block_the_loop_names_what_to_write(trio_lab: Context) -> None:
    psu: Any = qmi.rpc_blocking(await trio_lab.make_instrument("psu", Supply))
    with pytest.raises(QMI_UsageException, match=r"'await proxy\.rpc_async\.channels\[2\]\.voltage'"):
        _ = psu.channels[2].voltage
    with pytest.raises(QMI_UsageException, match=r"await proxy\.rpc_nonblocking\.channels\[2\]\.ramp\(\.\.\.\)"):
        psu.channels[2].ramp(1.0)


def test_handle_of_a_parameter_reads_and_sets_it(supply: Any) -> None:
    voltage = supply.parameters.voltage
    voltage.set(7)
    assert (voltage.name, voltage.unit, voltage.get(), voltage.limits()) == ("voltage", "V", 7.0, (0, 30))
    first = supply.parameters["channels[1].voltage"]
    first.set(2.0)
    assert first.get() == supply.channels[1].voltage == 2.0
    assert voltage.info().doc == "Set voltage"
    assert (voltage.settable, supply.parameters.current.settable) == (True, False)
    assert "channels[4].enabled" in supply.parameters
    assert "channels[5].enabled" not in supply.parameters
    assert list(supply.parameters)[:2] == ["voltage", "current"]
    assert list(supply.parameters) == list(supply.parameters())
    assert list(supply.parameters("mode")) == ["mode"]
    assert voltage == supply.parameters["voltage"]
    with pytest.raises(QMI_Exception, match=r"has no parameter 'voltag'\. Did you mean 'voltage'"):
        supply.parameters["voltag"]
    with pytest.raises(AttributeError, match=r"has no parameter 'voltag'\. Did you mean 'voltage'"):
        supply.parameters.voltag  # noqa: B018
    with pytest.raises(QMI_UnknownNameException, match=r"psu has no parameter 'mod'\. Did you mean 'mode'"):
        supply.parameters("mod")


def test_handle_of_a_parameter_returns_futures(supply: Any) -> None:
    handle = supply.rpc_nonblocking.parameters.voltage
    handle.set(1.5).wait()
    assert handle.get().wait() == 1.5
    assert handle.limits().wait() == (0, 30)
    assert handle.info().wait().name == "voltage"
    assert supply.rpc_nonblocking.parameters().wait()["voltage"].unit == "V"


async def test_handle_of_a_parameter_is_awaited(trio_lab: Context) -> None:
    psu: Any = await trio_lab.make_instrument("psu", Supply)
    handle = psu.parameters.voltage
    await handle.set(1.5)
    assert await handle.get() == 1.5
    assert await handle.limits() == (0, 30)
    assert (await handle.info()).type == "float"
    assert (await psu.parameters())["voltage"].unit == "V"


def test_quantity_is_converted_where_it_is_given(supply: Any) -> None:
    unit: Any = UNITS
    for give in (
        lambda value: setattr(supply, "voltage", value),
        supply.set_voltage,
        lambda value: supply.set_voltage(value=value),
        supply.parameters.voltage.set,
        lambda value: supply.rpc_nonblocking.set_voltage(value).wait(),
        lambda value: supply.rpc_nonblocking.voltage.set(value).wait(),
    ):
        supply.voltage = 0.0
        give(unit.Quantity(1500.0, "mV"))
        assert supply.voltage == 1.5
        with pytest.raises(
            QMI_InvalidValueException,
            match="voltage of psu is in V, and ampere cannot be converted to that; got 1 ampere",
        ):
            give(unit.Quantity(1, "A"))
    supply.channels[1].voltage = unit.Quantity(2, "kV") / 1000
    supply.channels[2].set_voltage(unit.Quantity(30000.0, "mV"))
    assert [supply.channels[number].voltage for number in (1, 2)] == [2.0, 30.0]


def test_quantity_is_a_number_before_it_is_sent() -> None:
    with two_contexts() as (server, client):
        server.make_instrument("psu", Supply)
        psu = client.get_instrument("server.psu")
        seen: list[object] = []
        call = Handle.call_blocking

        def note(handle: Handle, method: Any, args: Any, *rest: Any) -> object:
            seen.append(args)
            return call(handle, method, args, *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Handle, "call_blocking", note)
            psu.voltage = pint.Quantity(2, "V")
            psu.set_voltage(pint.Quantity(2, "V"))
        assert seen == [("voltage", 2), (2,)]


def test_parameter_is_a_property_for_a_program_of_an_older_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.peers.link_making.PARAMETERS_SINCE", MINOR + 1)
    assert len(interface_to_plain(interface_of(Supply), parameters=False)) == 9, "what versions without parameters read"
    with two_contexts() as (server, client):
        server.make_instrument("psu", Supply)
        psu: Any = client.get_instrument("server.psu")
        psu.voltage = 5
        psu.set_voltage(psu.voltage + 1)
        assert psu.get_voltage() == 6.0
        assert psu.parameters()["voltage"].limits == (0, 30)
        with pytest.raises(AttributeError, match="channels"):
            psu.channels  # noqa: B018


def test_parameters_travel_with_their_interface() -> None:
    plain = interface_to_plain(interface_of(Supply))
    assert interface_from_plain(plain) == interface_of(Supply)


@pytest.mark.parametrize(
    "more",
    [
        7,
        {},
        {"own": [], "channels": [], "handles": 1},
        {"own": [["a", "float"]], "channels": [], "handles": True},
        {"own": [["__init__", "float", "", "", True, True, ""]], "channels": [], "handles": True},
        {"own": [["lock", "float", "", "", True, True, ""]], "channels": [], "handles": True},
        {"own": [], "channels": [["c", 1, 10**9, "a.B", "", [], []]], "handles": True},
        {"own": [], "channels": [["c", 4, 1, "a.B", "", [], []]], "handles": True},
        {"own": [], "channels": [["lock", 1, 4, "a.B", "", [], []]], "handles": True},
        {"own": [], "channels": [["c", True, 4, "a.B", "", [], []]], "handles": True},
    ],
)
def test_parameters_of_an_interface_are_checked(more: object) -> None:
    plain = interface_to_plain(interface_of(Supply))
    with pytest.raises(ValueError):
        interface_from_plain([*plain[:9], more])


def test_parameters_of_an_interface_may_say_more_in_a_newer_version() -> None:
    *plain, more = interface_to_plain(interface_of(Supply))
    assert isinstance(more, dict)
    assert interface_from_plain([*plain, {**more, "colour": 1}]) == interface_of(Supply)


@pytest.mark.parametrize(
    "value", [ParameterInfo("voltage", "float", "V", (0, 30)), Reading(1.0, "V", 5.0), Change("a", 1, 2)]
)
def test_what_is_said_of_parameters_arrives_where_no_driver_is_imported(
    value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = Codec().encode(value, "a result")
    monkeypatch.delitem(sys.modules, "qmi.core.driver")
    assert Codec().decode(encoded.payload, encoded.segments) == value


def places_in(plain: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, item in items:
        yield from places_in(item, (*place, key))


def replaced(plain: Any, place: tuple[Any, ...], junk: object) -> Any:
    if not place:
        return junk
    key, *rest = place
    copied = plain.copy()
    copied[key] = replaced(plain[key], tuple(rest), junk)
    return copied


UNITS: Any = pint
PLACES = [(9, *place) for place in places_in(interface_to_plain(interface_of(Supply))[9])]
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        -1,
        3,
        10**9,
        1.5,
        "",
        "x",
        "a b",
        "__class__",
        "lock",
        "\x1b[31m",
        "a\x00b",
        [],
        [[]],
        {},
        {"own": []},
    ]
)


@given(st.sampled_from(PLACES), JUNK)
@settings(max_examples=50)
def test_parameters_of_an_interface_are_refused_or_make_a_proxy(place: tuple[Any, ...], junk: object) -> None:
    plain = replaced(interface_to_plain(interface_of(Supply)), place, junk)
    try:
        interface = interface_from_plain(plain)
    except ValueError:
        return
    for view in (QMI_RpcProxy, AsyncProxy, QMI_RpcNonBlockingProxy):
        router: Any = None
        proxy = make_view(view, Handle(router, Address("a", "b"), interface))
        shown = pydoc.plain(pydoc.render_doc(proxy)) + repr(getattr(proxy, "parameters", None))
        assert "\x1b" not in shown
        assert "\x00" not in shown
