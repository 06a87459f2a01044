"""A declaration without a name, because of a comma or a colon, is refused when the class is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from qmi.core.driver import AsyncScpiInstrument, Channel, QMI_Instrument, ScpiInstrument, channels, parameter
from qmi.core.exceptions import QMI_UsageException
from qmi.core.rpc import QMI_RpcObject
from tests.support.parameters import OutputChannel

BASES = [ScpiInstrument, AsyncScpiInstrument, QMI_Instrument, QMI_RpcObject, Channel]
_: Any = parameter


def declared() -> Any:
    return parameter("B{n}", float)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: (declared(),), "b is a tuple with parameter(...) in it"),
        (lambda: (declared(), "V"), "b is a tuple with parameter(...) in it"),
        (lambda: (1, declared()), "b is a tuple with parameter(...) in it"),
        (lambda: [declared()], "b is a list with parameter(...) in it"),
        (lambda: {declared()}, "b is a set with parameter(...) in it"),
        (lambda: {"b": declared()}, "b is a dict with parameter(...) in it"),
        (lambda: (_(type=float),), "b is a tuple with parameter(...) in it"),
        (lambda: (channels(OutputChannel, 1, 2),), "b is a tuple with channels(...) in it"),
        (lambda: parameter, "b is parameter itself: call it, b = parameter(...)"),
        (lambda: channels, "b is channels itself: call it, b = channels(...)"),
    ],
)
def test_declaration_in_a_container_is_refused(base: type, make: Callable[[], Any], said: str) -> None:
    with pytest.raises(QMI_UsageException) as raised:
        type("Bad", (base,), {"b": make()})
    assert f"Bad.{said}" in str(raised.value)
    assert "write b = " in str(raised.value) or "call it" in str(raised.value)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    "annotation",
    [
        declared,
        lambda: 'parameter("B", float)',
        lambda: 'driver.parameter("B", float, unit="V")',
        lambda: "parameter (type=float)",
    ],
)
def test_declaration_behind_a_colon_is_refused(base: type, annotation: Callable[[], Any]) -> None:
    with pytest.raises(QMI_UsageException, match=r"Bad\.b has parameter\(\.\.\.\) as its annotation.*write b = param"):
        type("Bad", (base,), {"__annotations__": {"b": annotation()}})
    with pytest.raises(QMI_UsageException, match=r"Bad\.c has channels\(\.\.\.\) as its annotation"):
        type("Bad", (base,), {"__annotations__": {"c": "channels(Output, 1, 2)"}})


def test_declaration_behind_a_colon_is_refused_as_it_is_written() -> None:
    with pytest.raises(QMI_UsageException, match=r"Bad\.b has parameter\(\.\.\.\) as its annotation"):

        class Bad(ScpiInstrument):
            a = parameter("A", float)
            b: parameter("B", float)  # type: ignore[valid-type]


def test_declarations_with_names_may_also_be_in_a_container() -> None:
    class Good(ScpiInstrument):
        voltage = parameter("VOLT", float)
        current: Any = parameter("CURR", float)
        both = (voltage, current)
        by_name: ClassVar[dict[str, Any]] = {"voltage": voltage}
        texts: ClassVar[list[str]] = ["parameter(1)"]
        later: Nowhere  # type: ignore[name-defined]  # noqa: F821

    assert Good.both == (Good.voltage, Good.current)
