"""What the fixtures ``scripted`` and ``simulated`` of the pytest plugin are: factories that see to the end, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InvalidOperationException
from qmi.core.instrument import QMI_Instrument
from qmi.testing.scripted import AsyncScriptedTransport, ScriptedTransport

_T = TypeVar("_T")


class Scripted:
    """Makes scripted transports, all of which must have come to the end of their scripts when the test is over.

    ::

        def test_voltage(qmi_context, scripted):
            transport = scripted([("VOLT?", "5.0")])
            with qmi_context.make_instrument("psu", Supply, transport) as psu:
                assert psu.get_voltage() == 5.0
    """

    def __init__(self) -> None:
        self._made: list[ScriptedTransport | AsyncScriptedTransport] = []

    def __call__(
        self,
        steps: Iterable[object],
        *,
        terminator: str = "\n",
        answer_terminator: str | None = None,
        messages: bool = False,
    ) -> ScriptedTransport:
        """Make a transport; see :class:`ScriptedTransport`."""
        transport = ScriptedTransport(
            steps,
            terminator=terminator,
            answer_terminator=answer_terminator,
            messages=messages,
            check_on_close=False,
        )
        self._made.append(transport)
        return transport

    def awaited(
        self, steps: Iterable[object], *, terminator: str = "\n", answer_terminator: str | None = None
    ) -> AsyncScriptedTransport:
        """Make one for a driver in the event loop; see :class:`AsyncScriptedTransport`."""
        transport = AsyncScriptedTransport(
            steps, terminator=terminator, answer_terminator=answer_terminator, check_on_close=False
        )
        self._made.append(transport)
        return transport

    def check_done(self) -> None:
        """See to it that all went by the scripts; the plugin calls it at the end of a test that passes.

        Raises:
            ScriptMismatchError: If a driver did something else, or there are steps left.
        """
        __tracebackhide__ = True
        for transport in self._made:
            transport.check_done()


class Simulated:
    """Makes simulated instruments in the context of the test, open, and closes them in the end.

    ::

        def test_voltage(simulated):
            psu = simulated(Supply)
            psu.voltage = 5.0
            assert psu.voltage == 5.0

    Args:
        context: The context to make them in.
    """

    def __init__(self, context: QMI_Context) -> None:
        self._context = context
        self._made: list[QMI_Instrument] = []

    def __call__(
        self,
        driver: Callable[..., _T],
        *args: object,
        name: str | None = None,
        simulate: object = True,
        is_open: bool = True,
        **kwargs: object,
    ) -> _T:
        """Make an instrument.

        Args:
            driver: The class of the driver.
            args: Arguments of its constructor.
            name: What it is called; None makes a name of that of the class.
            simulate: True for the simulator of the driver, or the class of another one.
            is_open: Whether to open it.
            kwargs: Further arguments of the constructor.

        Returns:
            A proxy of it.
        """
        name = name or f"{getattr(driver, '__name__', 'instrument').lower()}_{len(self._made) + 1}"
        make: Any = self._context.make_instrument
        proxy = make(name, driver, *args, simulate=simulate, **kwargs)
        self._made.append(proxy)
        if is_open:
            proxy.open()
        return proxy  # type: ignore[no-any-return]

    def close_all(self) -> None:
        """Close those that are open; the plugin calls it."""
        for proxy in reversed(self._made):
            with suppress(QMI_InvalidOperationException):  # the test has closed it
                proxy.close()
