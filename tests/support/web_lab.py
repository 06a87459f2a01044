"""A small laboratory for its pages: two contexts with supplies, a laser, a task, and something that has failed."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import trio

from qmi.config.loader import load_config
from qmi.core.context import QMI_Context
from qmi.core.driver import Channel, QMI_Instrument, channels, parameter, rpc_method
from qmi.core.pubsub import QMI_Signal
from qmi.core.task import QMI_LoopTask
from qmi.web.options import Options
from qmi.web.server import serve
from tests.support.cli import write_lab
from tests.support.ports import free_port


class Regulation(Enum):
    """What a supply holds constant."""

    VOLTAGE = "voltage"
    CURRENT = "current"


class Simulated(QMI_Instrument):
    """Keeps what is written."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.kept: dict[str, Any] = {}
        self.fault = ""

    def _read_parameter(self, parameter: Any, channel: Any) -> Any:
        key = f"{channel.number if channel else ''}{parameter.ask.removesuffix('?')}"
        if key == "MEAS":
            return 0.25 + 0.02 * math.sin(time.monotonic())
        return self.kept.get(key, next(iter(parameter.type)) if parameter.type is Regulation else parameter.type())

    def _write_parameter(self, parameter: Any, value: Any, channel: Any) -> None:
        self.kept[f"{channel.number if channel else ''}{parameter.write.split()[0]}"] = value


class Output(Channel):
    """An output."""

    level = parameter("LEV", float, unit="V", limits=(0, 5), doc="Voltage of the output.")
    enabled = parameter("ENAB", bool, doc="Whether it is on.")

    @rpc_method
    def reset(self) -> None:
        """Switch it off and set it to 0 V."""


class Supply(Simulated):
    """A power supply with two more outputs."""

    voltage = parameter("VOLT", float, unit="V", limits=(0, 30), doc="Voltage to hold.")
    limit = parameter("LIM", float, unit="A", limits=(0, 2), step=0.1, doc="Greatest current.")
    regulation = parameter("MODE", Regulation, doc="What is held constant.")
    output = parameter("OUTP", bool, doc="Whether the output is on.")
    current = parameter("MEAS?", float, unit="A", poll=0.2, doc="Current that flows.")
    label = parameter("LAB", str, doc="What stands on its display.")
    outputs = channels(Output, 1, 2)

    @rpc_method
    def ramp(self, target: float, duration: float = 1.0, *, regulation: Regulation = Regulation.VOLTAGE) -> list[float]:
        """Go to a voltage step by step.

        Args:
            target: Where to go to, in volts.
            duration: How long it takes, in seconds.
            regulation: What is held constant then.

        Returns:
            The steps that were taken, in volts.
        """
        if not 0 <= target <= 30:
            raise ValueError(f"target must be 0 to 30 V, got {target:g}")
        self.kept["VOLT"] = target
        return [target * step / 4 for step in range(5)]

    @rpc_method
    def self_test(self) -> bool:
        """Have the device test itself."""
        return True

    @rpc_method
    def trip(self) -> None:
        """Fail as a device does."""
        raise RuntimeError("the interlock is open")


class Laser(Simulated):
    """A laser."""

    power = parameter("POW", float, unit="W", limits=(0, 0.5), doc="Power of the beam.")
    wavelength = parameter("WAV?", float, unit="nm", doc="Wavelength.")
    shutter = parameter("SHUT", bool, doc="Whether the shutter is open.")


@dataclass
class HoldSettings:
    """What the loop is told.

    Attributes:
        target: The temperature to hold, in degrees Celsius.
        gain: How strongly it corrects.
        regulation: By what it corrects.
        enabled: Whether it corrects at all.
    """

    target: Annotated[float, "°C"] = 21.5
    gain: float = 0.4
    regulation: Regulation = Regulation.VOLTAGE
    enabled: bool = True


class Hold(QMI_LoopTask[HoldSettings, None]):
    """Holds a temperature."""

    sig_temperature = QMI_Signal([float, float])

    def loop_prepare(self) -> None:
        """Begin."""
        self.settings = HoldSettings()

    def loop_iteration(self) -> None:
        """Correct."""
        now = time.monotonic()
        self.sig_temperature.publish(self.settings.target + 0.3 * math.sin(now), 5 + math.cos(now / 2))


class Broken(QMI_LoopTask[None, None]):
    """Fails."""

    def loop_iteration(self) -> None:
        """Fail."""
        raise RuntimeError("the chiller does not answer")


@contextmanager
def furnished(lab: QMI_Context, optics: QMI_Context) -> Iterator[None]:
    """What there is in the two contexts, for the length of the block."""
    supply = lab.make_instrument("supply", Supply)
    supply.open()
    lab.make_instrument("spare", Supply)
    with suppress(RuntimeError):
        supply.trip()
    hold = lab.make_task("hold", Hold, loop_period=0.05)
    hold.start()
    chiller = lab.make_task("chiller", Broken, loop_period=0.1)
    chiller.start()
    laser = optics.make_instrument("laser", Laser)
    laser.open()
    laser.reserve("alignment until 18:00")
    try:
        yield
    finally:
        laser.unlock()


@dataclass
class Pages:
    """Pages that are served by a thread of this process.

    Attributes:
        url: Where.
        config: The file of the configuration, which has a context of another program, too: bench.
        said: What the server has printed.
        lab: The context named lab.
        optics: The context named optics.
    """

    url: str
    config: Path
    lab: QMI_Context
    optics: QMI_Context
    said: list[str] = field(default_factory=list)

    @property
    def token(self) -> str:
        """With what things may be changed."""
        return self.said[-1].rpartition("token=")[2]


class ServedPages:
    """Serves the pages of a configuration in a thread.

    Args:
        config: The file of the configuration.
        options: How the server runs.
    """

    def __init__(self, config: Path, options: Options) -> None:
        self.said: list[str] = []
        self.url = ""
        self._config, self._options = load_config(str(config)), options
        self._begun = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run,), name="pages")

    def __enter__(self) -> ServedPages:
        self._thread.start()
        self._begun.wait(20)
        assert self.url, "the server has not begun"
        return self

    def __exit__(self, *error: object) -> None:
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join()

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                self.url = await nursery.start(
                    partial(serve, self._config, self._options, self.said.append, init_logging=False)
                )
                self._begun.set()
        finally:
            self._begun.set()


@contextmanager
def served_lab(folder: Path, options: Options | None = None) -> Iterator[Pages]:
    """The laboratory and its pages, for the length of the block."""
    here = {"host": "127.0.0.1", "tcp_server_port": 0}
    bench = {"host": "127.0.0.1", "tcp_server_port": free_port()}
    cryostat = {"host": "127.0.0.1", "tcp_server_port": 9}
    config = write_lab(folder, lab=here, optics=here, cryostat=cryostat, bench=bench)
    with ExitStack() as stack:
        lab = stack.enter_context(QMI_Context("lab", load_config(str(config))))
        optics = stack.enter_context(QMI_Context("optics", load_config(str(config))))
        stack.enter_context(furnished(lab, optics))
        served = stack.enter_context(
            ServedPages(config, options or Options(bind="127.0.0.1:0", dashboards=str(folder / "dashboards")))
        )
        yield Pages(served.url, config, lab, optics, served.said)
