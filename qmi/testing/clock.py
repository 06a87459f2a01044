"""Time that a driver's own waits go by in tests: ``time.sleep()`` returns at once, and the clock has moved.

Only functions of the modules ``time`` and ``trio`` are simulated, and only for drivers and for the test itself. Which
code that is goes by the module that calls; the standard library, pytest, trio, the engine of this library and libraries
that do I/O keep real time, because what they wait for is real.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, FrameType, ModuleType
from typing import Protocol, cast

import trio

from qmi.errors import QMI_InvalidValueException, QMI_UsageException

PATIENCE = 1000
"""So often a driver may look at the clock without a wait before each look moves it: loops that wait like that end."""
LOOK = 0.001
"""By how much it is moved then, in seconds."""

# Libraries that wait for what is real: event loops, test runners, debuggers, I/O.
_KEEP_REAL_TIME = frozenset(
    {
        *("trio", "tricycle", "outcome", "anyio", "sniffio", "pytest_trio", "asyncssh", "tornado", "zmq", "psutil"),
        *("pytest", "_pytest", "pluggy", "pytest_timeout", "pytest_cov", "xdist", "execnet", "coverage"),
        *("hypothesis", "sybil", "pydevd", "_pydevd_bundle", "debugpy", "IPython", "ipykernel", "jupyter_client"),
        *("serial", "usb", "pyvisa", "pyvisa_py", "vxi11"),
    }
)
# What of this library goes by the time of a driver. Transports to something real do not.
_SIMULATED_HERE = (
    *("qmi.devices.transport.", "qmi.devices.async_transport.", "qmi.devices.scpi.", "qmi.devices.async_scpi."),
    *("qmi.devices.simulated.", "qmi.simulation.", "qmi.instruments.", "qmi.testing.scripted.", "qmi.testing.clock."),
)
_LOOK_WITHOUT_WAITING = ("qmi.devices.", "qmi.simulation.")
"""Modules that look at the clock for each exchange, however short it is."""


class MovableClock(Protocol):
    """A clock that stands still until it is moved, such as that of a task bench."""

    def now(self) -> float:
        """The time, in seconds."""
        ...

    def advance(self, seconds: float) -> None:
        """Move it on."""
        ...


class SimulatedClock:
    """A clock that stands still until somebody waits by it, or moves it."""

    def __init__(self) -> None:
        self._now = 0.0
        self._mutex = threading.Lock()

    def now(self) -> float:
        """How many simulated seconds have passed; 0 at first."""
        return round(self._now, 9)

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Args:
            seconds: How much.

        Raises:
            QMI_InvalidValueException: If that is no number of seconds.
        """
        if not 0 <= seconds < math.inf:
            raise QMI_InvalidValueException(f"seconds must be a number >= 0, got {seconds!r}")
        with self._mutex:
            self._now += seconds


class _Simulation:
    """The clock of a block of simulated time, and where real time stood when the block began."""

    def __init__(self, clock: MovableClock) -> None:
        self.clock = clock
        # What is there may be another test tool's.
        self.before: dict[str, Callable[..., object]] = {name: _now_in_place(name) for name in _SIMULATED}
        self._begin = clock.now()
        # Whole seconds, so that differences of times are nearly exact.
        self._offsets: dict[str, int] = {
            name: math.ceil(cast("float", self.before[f"time.{name}"]()))
            for name in ("monotonic", "perf_counter", "time")
        }
        self._runs: dict[int, tuple[int, float]] = {}
        self._looks = 0
        self._seen = self._begin

    def read(self, name: str) -> float:
        return self._offsets[name] + self.clock.now() - self._begin

    def read_trio(self) -> float:
        """The same for the trio run that this is in: each has a clock that begins anywhere."""
        now = self.clock.now()
        if (run := id(trio.lowlevel.current_clock())) not in self._runs:
            self._runs[run] = math.ceil(cast("float", self.before["trio.current_time"]())), now
        offset, begin = self._runs[run]
        return offset + now - begin

    def look(self) -> None:
        """Somebody looks at the clock who may be waiting for it to move."""
        now = self.clock.now()
        # From several threads the count may be off; only whether it is large matters.
        self._looks = self._looks + 1 if now == self._seen else 0
        if self._looks >= PATIENCE:
            self.clock.advance(LOOK)
            now = self.clock.now()
        self._seen = now

    def sleep(self, seconds: float) -> None:
        self._looks = 0
        self.clock.advance(seconds)


_current: _Simulation | None = None
_is_simulated: dict[str, bool] = {}


def current_clock() -> MovableClock | None:
    """The clock of the block of simulated time that goes on; None where time is real."""
    return None if _current is None else _current.clock


@contextmanager
def simulated_time(clock: MovableClock | None = None) -> Iterator[MovableClock]:
    """Within the block, ``time.sleep()`` of a driver takes no time and moves a simulated clock, which it also reads.

    That covers ``sleep``, ``monotonic``, ``perf_counter``, ``time`` and their ``_ns`` forms of the module ``time``, and
    ``trio.sleep``, ``trio.sleep_until`` and ``trio.current_time``, called by the name of the module or imported by
    their own, in the modules of drivers and of the test, in every thread; the time-outs and the reconnecting of
    scripted, replayed and simulated transports; and the delays of ``ScpiProtocol``. It does **not** cover the time
    limits of trio (``move_on_after``, ``fail_after``; see :func:`run_in_virtual_time`), the periods of tasks (see
    :func:`open_task_bench`, whose clock can be given here), waits for locks, queues, events, sockets, serial ports and
    processes, ``rpc_timeout``, ``datetime.now()``, and functions that were kept elsewhere before the block, such as in
    a default argument. Where the clock of trio is virtual, its functions go by that.

    A loop that only looks at the clock until it is late enough ends, too: after 1000 looks each one moves it by 1 ms.
    Two threads, or two tasks, that sleep at once sleep one after the other::

        >>> import time
        >>> from qmi.testing import simulated_time
        >>> with simulated_time() as clock:
        ...     began = time.monotonic()
        ...     time.sleep(3600.0)
        ...     time.monotonic() - began
        ...     clock.now()
        3600.0
        3600.0

    Args:
        clock: The clock to move; None makes one that begins at 0. ``bench.clock`` of a task bench lets the waits of
            drivers take the time of its tasks.

    Yields:
        The clock: ``now()`` is the time in seconds, ``advance(seconds)`` lets time pass.

    Raises:
        QMI_UsageException: If time is simulated already.
    """
    global _current
    if _current is not None:
        raise QMI_UsageException("Time is simulated already; use the clock of the outer simulated_time()")
    simulation = _Simulation(SimulatedClock() if clock is None else clock)
    replaced = _imported_functions(simulation)
    _current = simulation
    for module, name, _, fake in replaced:
        setattr(module, name, fake)
    for name, fake in _SIMULATED.items():
        _put_in_place(name, fake)
    try:
        yield simulation.clock
    finally:
        for name, before in simulation.before.items():
            _put_in_place(name, before)
        for module, name, before, _ in replaced:
            setattr(module, name, before)
        _current = None


@contextmanager
def time_by(clock: MovableClock) -> Iterator[None]:
    """Simulated time that goes by another clock for a while, whether time is simulated already or not."""
    global _current
    outer = _current
    if outer is None:
        with simulated_time(clock):
            yield
        return
    inner = _Simulation(clock)
    inner.before = outer.before
    _current = inner
    try:
        yield
    finally:
        _current = outer


def _is_covered(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__"))
    covered = _is_simulated.get(module)
    if covered is None:
        covered = _is_simulated[module] = _is_simulated_module(module)
    return covered


def _is_simulated_module(name: str) -> bool:
    top = name.partition(".")[0]
    if top == "qmi":
        return f"{name}.".startswith(_SIMULATED_HERE)
    return top == "__main__" or (top not in sys.stdlib_module_names and top not in _KEEP_REAL_TIME)


def _now_in_place(name: str) -> Callable[..., object]:
    module, _, attribute = name.partition(".")
    function: Callable[..., object] = getattr(sys.modules[module], attribute)
    return function


def _put_in_place(name: str, function: Callable[..., object]) -> None:
    module, _, attribute = name.partition(".")
    setattr(sys.modules[module], attribute, function)


def _imported_functions(
    simulation: _Simulation,
) -> list[tuple[ModuleType, str, Callable[..., object], Callable[..., object]]]:
    """What drivers and tests have imported by name: where it is, what it is, and what takes its place."""
    known = {id(before): _SIMULATED[name] for name, before in simulation.before.items()}
    found = []
    for module_name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or not _is_simulated_module(module_name):
            continue
        for name, value in list(vars(module).items()):
            fake = known.get(id(value))
            if fake is None and isinstance(value, BuiltinFunctionType) and value.__module__ == "time":
                fake = _SIMULATED.get(f"time.{value.__name__}")  # another test tool has replaced what is in the module
            if fake is not None:
                found.append((module, name, value, fake))
    return found


# What takes their place. A module that is imported in the block may keep these for ever, so outside of a block they do
# what is in place then. They ask who calls, so nothing may stand between them and the caller.


def _real(name: str) -> Callable[..., object]:
    simulation = _current
    return _now_in_place(name) if simulation is None else simulation.before[name]


def _simulation_for(frame: FrameType) -> _Simulation | None:
    """The simulation, if what calls goes by it."""
    simulation = _current
    return simulation if simulation is not None and _is_covered(frame) else None


def _trio_simulation_for(frame: FrameType) -> _Simulation | None:
    """The same for functions of trio, whose own clock may be virtual; or there is none."""
    if not trio.lowlevel.in_trio_run() or hasattr(trio.lowlevel.current_clock(), "jump"):
        return None
    return _simulation_for(frame)


def _look(simulation: _Simulation, frame: FrameType) -> None:
    if not str(frame.f_globals.get("__name__")).startswith(_LOOK_WITHOUT_WAITING):
        simulation.look()


def _sleep(seconds: float, /) -> None:
    simulation = _simulation_for(sys._getframe(1))
    if simulation is None:
        _real("time.sleep")(seconds)
    elif seconds < 0:
        raise ValueError("sleep length must be non-negative")  # as the real one says
    else:
        simulation.sleep(seconds)


def _reader(name: str, source: str, factor: int) -> Callable[[], float]:
    def read() -> float:
        frame = sys._getframe(1)
        simulation = _simulation_for(frame)
        if simulation is None:
            return cast("float", _real(f"time.{name}")())
        _look(simulation, frame)
        seconds = simulation.read(source)
        return seconds if factor == 1 else round(seconds * factor)

    read.__name__ = read.__qualname__ = name
    return read


def _trio_current_time() -> float:
    frame = sys._getframe(1)
    simulation = _trio_simulation_for(frame)
    if simulation is None:
        return cast("float", _real("trio.current_time")())
    _look(simulation, frame)
    return simulation.read_trio()


def _trio_sleep(seconds: float) -> Awaitable[None]:
    simulation = _trio_simulation_for(sys._getframe(1))
    if simulation is None:
        return cast("Awaitable[None]", _real("trio.sleep")(seconds))
    return _sleep_at_once(simulation, seconds)


def _trio_sleep_until(deadline: float) -> Awaitable[None]:
    simulation = _trio_simulation_for(sys._getframe(1))
    if simulation is None:
        return cast("Awaitable[None]", _real("trio.sleep_until")(deadline))
    return _sleep_at_once(simulation, max(0.0, deadline - simulation.read_trio()))


async def _sleep_at_once(simulation: _Simulation, seconds: float) -> None:
    if seconds < 0:
        raise ValueError("`seconds` must be non-negative")
    if seconds == math.inf:
        await trio.sleep_forever()
    await trio.lowlevel.checkpoint()
    simulation.sleep(seconds)


_SIMULATED: dict[str, Callable[..., object]] = {
    "time.sleep": _sleep,
    **{f"time.{name}": _reader(name, name, 1) for name in ("monotonic", "perf_counter", "time")},
    **{f"time.{name}_ns": _reader(f"{name}_ns", name, 10**9) for name in ("monotonic", "perf_counter", "time")},
    "trio.sleep": _trio_sleep,
    "trio.sleep_until": _trio_sleep_until,
    "trio.current_time": _trio_current_time,
}
