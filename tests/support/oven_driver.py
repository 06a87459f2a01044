"""A driver with something of everything, for tests of what is made of drivers. Read as text, too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from qmi.core.driver import Block, Channel, QMI_Instrument, QMI_Signal, ScpiInstrument, channels, parameter, rpc_method

if TYPE_CHECKING:
    from no_such_library import Handle  # type: ignore[import-not-found]


class Program(Enum):
    """What is done with the heat."""

    BAKE = "BAKE"
    GRILL = "GRIL"


@dataclass(frozen=True)
class Recipe:
    """What becomes of the dough."""

    setpoint: float
    program: Program = Program.BAKE


class Shelf(Channel):
    """One shelf."""

    position = parameter("SHEL{n}:POS", int, unit="mm", limits=(0, 200), step=5, doc="Its height.")
    weight = parameter("SHEL{n}:WEIG?", float, unit="g")

    @rpc_method
    def tare(self) -> None:
        """Take the present weight as nothing."""


class Oven(ScpiInstrument):
    """An oven with shelves.

    Args:
        context: The context.
        name: Its name.
        transport: How it is reached.
        kitchen: Whose it is | in words.
    """

    _rpc_constants: ClassVar[tuple[str, ...]] = ("doors",)
    doors = 2
    sig_ready = QMI_Signal([float, str])

    setpoint = parameter("SETP", float, unit="°C", limits=(20, "highest"), doc="Temperature to reach.\n\nSlowly.")
    highest = parameter(
        "SETP:MAX", float, unit="°C", limits=(None, lambda self: 300), doc="Highest setpoint.", simulate=250.0
    )
    temperature = parameter("TEMP?", float, unit="°C", poll=0.5, doc="Temperature inside.")
    program = parameter("PROG", Program)
    light = parameter(
        ask="LIGHT:STATE?",
        write="LIGHT {value}",
        type=bool,
        values={True: "LIT", False: "DARK"},
        doc="The lamp | in it.",
    )
    profile = parameter("PROF?", Block("<f4"), doc="Temperatures from the bottom to the top.")
    shelves = channels(Shelf, 1, 3)

    def __init__(self, context: Any, name: str, transport: str, *, kitchen: str = "ours") -> None:
        super().__init__(context, name, transport)
        self._kitchen = kitchen

    @rpc_method
    def bake(
        self, recipe: Recipe, /, *guests: str, minutes: float = 30.0, program: Program = Program.BAKE
    ) -> list[float]:
        """Bake something.

        Args:
            recipe: What.
            guests: For whom.
            minutes: How long, in minutes.
            program: How.
        """
        return []

    @rpc_method
    def watch(self) -> Iterator[float]:
        """Temperatures, one after the other."""
        yield self.temperature

    @rpc_method
    def handle(self, given: Handle = None, old=1) -> Handle:  # type: ignore[no-untyped-def]
        """The library's."""
        return given


class Stove(Oven):
    """The same with plates."""

    @rpc_method
    def cook(self) -> None:
        """Cook something."""


class Grill(QMI_Instrument):
    """A grill in the event loop."""

    @parameter(unit="W", limits=(0, 2000))
    async def power(self) -> float:
        """Power of the heater."""
        return 0.0

    @power.setter
    async def set_power(self, value: float) -> None:
        """Set the power of the heater."""

    @rpc_method
    async def turn(self) -> float:
        """Turn it once."""
        return 1.0

    @rpc_method
    async def smell(self) -> AsyncIterator[str]:
        """What one smells."""
        yield "smoke"
