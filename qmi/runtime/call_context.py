"""The call that the current thread or task carries out, and the objects that wait for it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from qmi.messages import Origin
from qmi.records import NamedTuple
from qmi.runtime.wakeup import Interrupt


class Facade(Protocol):
    """A context as blocking code sees it, of which the modules below know no more than this."""

    @property
    def name(self) -> str:
        """The name of the context."""


class Execution(NamedTuple):
    """What a piece of running code belongs to.

    Attributes:
        context: The blocking facade of the context that runs it; what ``qmi.context()`` returns here.
        chain: Addresses of the objects that wait for this code to end, outermost first, its own last.
        interrupt: What ends its waits, if anything does.
    """

    context: Facade
    chain: tuple[str, ...] = ()
    interrupt: Interrupt | None = None


EXECUTION: ContextVar[Execution | None] = ContextVar("qmi_execution", default=None)


CALLER: ContextVar[Origin | None] = ContextVar("qmi_caller", default=None)
"""The context that a direct method is called by, while one runs."""


def current_chain() -> tuple[str, ...]:
    """The objects that wait for the code that runs here."""
    execution = EXECUTION.get()
    return () if execution is None else execution.chain


def current_interrupt() -> Interrupt | None:
    """What ends the waits of the code that runs here."""
    execution = EXECUTION.get()
    return None if execution is None else execution.interrupt
