"""What an instrument says that could not be opened, to whoever uses it later."""

from __future__ import annotations

from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InvalidOperationException
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
from tests.support.drivers import Inline

REASON = (
    r"^Instrument 'x' is not open; call its open\(\) first "
    r"\(opening it failed at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC: OSError: no cable: is it on\?\)$"
)
NO_REASON = r"^Instrument 'x' is not open; call its open\(\) first$"


class _Loose:
    is_plugged = False

    def plug(self) -> None:
        if not self.is_plugged:
            raise OSError("no cable:\nis it on?")


class Threaded(_Loose, QMI_Instrument):
    @rpc_method
    def open(self) -> None:
        self.plug()
        super().open()

    @rpc_method
    def push(self) -> None:
        self.is_plugged = True

    @rpc_method
    def ask(self) -> int:
        self._check_is_open()
        return 1


class Inlined(Threaded):
    _rpc_placement = Inline._rpc_placement


class Awaited(_Loose, QMI_Instrument):
    @rpc_method
    async def open(self) -> None:  # type: ignore[override]
        self.plug()
        QMI_Instrument.open(self)

    @rpc_method
    async def push(self) -> None:
        self.is_plugged = True

    @rpc_method
    async def ask(self) -> int:
        self._check_is_open()
        return 1


@pytest.mark.parametrize("driver", [Threaded, Inlined, Awaited])
@pytest.mark.parametrize("way", ["open", "with", "future"])
def test_instrument_that_could_not_be_opened_says_why(lab: QMI_Context, driver: Any, way: str) -> None:
    x: Any = lab.make_instrument("x", driver)
    with pytest.raises(QMI_InvalidOperationException, match=NO_REASON):
        x.ask()
    ways = {"open": x.open, "with": x.__enter__, "future": lambda: x.rpc_nonblocking.open().wait(10)}
    with pytest.raises(OSError, match="no cable"):
        ways[way]()
    for _ in range(2):  # everybody who comes is told
        with pytest.raises(QMI_InvalidOperationException, match=REASON):
            x.ask()
    with pytest.raises(QMI_InvalidOperationException, match=REASON):
        x.close()


@pytest.mark.parametrize("driver", [Threaded, Inlined, Awaited])
def test_reason_of_a_failed_opening_goes_with_the_next_one_that_succeeds(lab: QMI_Context, driver: Any) -> None:
    x: Any = lab.make_instrument("x", driver)
    with pytest.raises(OSError, match="no cable"):
        x.open()
    x.push()
    x.open()
    assert x.ask() == 1
    with pytest.raises(QMI_InvalidOperationException, match="'x' is open already"):
        x.open()  # this is no reason why it is closed later
    x.close()
    with pytest.raises(QMI_InvalidOperationException, match=NO_REASON):
        x.ask()
