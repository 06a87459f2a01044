"""Time that a driver's own waits go by in tests: ``time.sleep()`` returns at once, and the clock has moved.

Only the ``time`` module is simulated, and only for drivers and for the test itself. Which code that is goes by the
module that calls; the standard library, pytest, trio, the engine of this library and libraries that do I/O keep real
time, because what they wait for is real.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, FrameType, ModuleType
from typing import Protocol

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
_SIMULATED_HERE = ("qmi.devices.", "qmi.instruments.", "qmi.simulation.", "qmi.testing.")


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
        self.before: dict[str, Callable[..., float]] = {name: getattr(time, name) for name in _SIMULATED}
        self._begin = clock.now()
        # Whole seconds, so that differences of times are nearly exact.
        self._offsets = {name: math.ceil(self.before[name]()) for name in ("monotonic", "perf_counter", "time")}
        self._looks = 0
        self._seen = self._begin

    def read(self, name: str) -> float:
        return self._offsets[name] + self.clock.now() - self._begin

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

    That covers ``sleep``, ``monotonic``, ``perf_counter``, ``time`` and their ``_ns`` forms, called as ``time.sleep()``
    or imported by name, in the modules of drivers and of the test, in every thread; the time-outs and the reconnecting
    of scripted, replayed and simulated transports; and the delays of ``ScpiProtocol``. It does **not** cover
    ``trio.sleep()`` (see :func:`run_in_virtual_time`), the periods of tasks (see :func:`open_task_bench`, whose clock
    can be given here), waits for locks, queues, events, sockets, serial ports and processes, ``rpc_timeout``,
    ``datetime.now()``, and functions of ``time`` that were kept elsewhere before the block, such as in a default
    argument.

    A loop that only looks at the clock until it is late enough ends, too: after 1000 looks each one moves it by 1 ms.
    Two threads that sleep at once sleep one after the other::

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
    replaced = _imported_functions()
    _current = simulation
    for module, name, before in replaced:
        setattr(module, name, _SIMULATED[before.__name__])
    for name, function in _SIMULATED.items():
        setattr(time, name, function)
    try:
        yield simulation.clock
    finally:
        for name, before in simulation.before.items():
            setattr(time, name, before)
        for module, name, before in replaced:
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


def _imported_functions() -> list[tuple[ModuleType, str, Callable[..., object]]]:
    """What drivers and tests have imported from ``time`` by name."""
    return [
        (module, name, value)
        for module_name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and _is_simulated_module(module_name)
        for name, value in list(vars(module).items())
        if isinstance(value, BuiltinFunctionType) and value.__module__ == "time" and value.__name__ in _SIMULATED
    ]


# What stands in ``time`` meanwhile. A module that is imported in the block may keep these for ever, so outside of a
# block they do what ``time`` does then.


def _real(name: str) -> Callable[..., float]:
    simulation = _current
    function: Callable[..., float] = getattr(time, name) if simulation is None else simulation.before[name]
    return function


def _sleep(seconds: float, /) -> None:
    simulation = _current
    if simulation is None or not _is_covered(sys._getframe(1)):
        _real("sleep")(seconds)
    elif seconds < 0:
        raise ValueError("sleep length must be non-negative")  # as the real one says
    else:
        simulation.sleep(seconds)


def _reader(name: str, source: str, factor: int) -> Callable[[], float]:
    def read() -> float:
        simulation = _current
        frame = sys._getframe(1)
        if simulation is None or not _is_covered(frame):
            return _real(name)()
        if not str(frame.f_globals.get("__name__")).startswith("qmi.devices."):
            simulation.look()
        seconds = simulation.read(source)
        return seconds if factor == 1 else round(seconds * factor)

    read.__name__ = read.__qualname__ = name
    return read


_SIMULATED: dict[str, Callable[..., object]] = {
    "sleep": _sleep,
    **{name: _reader(name, name, 1) for name in ("monotonic", "perf_counter", "time")},
    **{f"{name}_ns": _reader(f"{name}_ns", name, 10**9) for name in ("monotonic", "perf_counter", "time")},
}
