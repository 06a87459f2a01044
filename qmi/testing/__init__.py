"""What the authors of drivers and tasks need for their tests: instruments without hardware, hours without waiting.

:func:`check_driver` runs a driver on its simulator and finds all that every driver has to get right. A
:class:`ScriptedTransport` says what a driver must write and what is answered; :func:`record_session` records what a
real device answers, and :func:`replay` plays it again. In :func:`simulated_time` the delays of a driver take no time.

For programs and tasks there is :class:`StandInInstrument`, which takes the place of a driver: it notes what is asked of
it and answers what the test told it; :func:`open_task_bench`, on which an hour of a loop takes a fraction of a second;
and :func:`run_in_virtual_time` with :func:`open_virtual_context` for trio programs.

pytest has these as fixtures where this library is installed: ``qmi_context``, ``qmi_async_context``, ``simulated``
(:class:`Simulated`), ``scripted`` (:class:`Scripted`), ``simulated_time`` and ``task_bench``.
"""

# pytest imports this package in every session for its plugin, so the rest is imported when it is used.

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from qmi.actors.clock.virtual import VirtualClock as VirtualClock
    from qmi.devices.simulated_server import SimulatorServer as SimulatorServer
    from qmi.devices.simulated_server import serve_simulator as serve_simulator
    from qmi.testing.checks import check_driver as check_driver
    from qmi.testing.checks import inspect_driver as inspect_driver
    from qmi.testing.clock import SimulatedClock as SimulatedClock
    from qmi.testing.clock import simulated_time as simulated_time
    from qmi.testing.findings import DriverCheckError as DriverCheckError
    from qmi.testing.findings import DriverReport as DriverReport
    from qmi.testing.findings import Finding as Finding
    from qmi.testing.fixtures import Scripted as Scripted
    from qmi.testing.fixtures import Simulated as Simulated
    from qmi.testing.recording import record_session as record_session
    from qmi.testing.recording import replay as replay
    from qmi.testing.recording import replay_async as replay_async
    from qmi.testing.script import Late as Late
    from qmi.testing.script import Mark
    from qmi.testing.script import ScriptMismatchError as ScriptMismatchError
    from qmi.testing.script import Unasked as Unasked
    from qmi.testing.script import block as block
    from qmi.testing.scripted import AsyncScriptedTransport as AsyncScriptedTransport
    from qmi.testing.scripted import ScriptedTransport as ScriptedTransport
    from qmi.testing.scripted import open_script as open_script
    from qmi.testing.stand_in import RecordedCall as RecordedCall
    from qmi.testing.stand_in import StandInInstrument as StandInInstrument
    from qmi.testing.task_bench import TaskBench as TaskBench
    from qmi.testing.task_bench import open_task_bench as open_task_bench
    from qmi.testing.virtual_time import open_virtual_context as open_virtual_context
    from qmi.testing.virtual_time import run_in_virtual_time as run_in_virtual_time

    # Here the reference finds what is said of them.
    DRIVER_RULES: Mapping[str, str]
    """What is checked of a driver, by the name of the rule."""
    NO_ANSWER: Final = Mark.NO_ANSWER
    """The answer of a step to which nothing comes, so the read times out. One without an answer must not be read."""
    LOST: Final = Mark.LOST
    """The answer of a step in whose place the connection is lost; as a step, it is lost before the next command."""
    REFUSED: Final = Mark.REFUSED
    """A step in which an attempt to connect, the first one or a later one, comes to nothing."""
    CLOSED: Final = Mark.CLOSED
    """A step in which the driver closes the transport, and opens it again if steps follow."""

__all__ = [
    "CLOSED",
    "DRIVER_RULES",
    "LOST",
    "NO_ANSWER",
    "REFUSED",
    "AsyncScriptedTransport",
    "DriverCheckError",
    "DriverReport",
    "Finding",
    "Late",
    "RecordedCall",
    "ScriptMismatchError",
    "Scripted",
    "ScriptedTransport",
    "Simulated",
    "SimulatedClock",
    "SimulatorServer",
    "StandInInstrument",
    "TaskBench",
    "Unasked",
    "VirtualClock",
    "block",
    "check_driver",
    "inspect_driver",
    "open_script",
    "open_task_bench",
    "open_virtual_context",
    "record_session",
    "replay",
    "replay_async",
    "run_in_virtual_time",
    "serve_simulator",
    "simulated_time",
]

_HOMES = {
    "qmi.actors.clock.virtual": ("VirtualClock",),
    "qmi.devices.simulated_server": ("SimulatorServer", "serve_simulator"),
    "qmi.testing.checks": ("check_driver", "inspect_driver"),
    "qmi.testing.findings": ("DRIVER_RULES", "DriverCheckError", "DriverReport", "Finding"),
    "qmi.testing.fixtures": ("Scripted", "Simulated"),
    "qmi.testing.recording": ("record_session", "replay", "replay_async"),
    "qmi.testing.script": (
        "CLOSED",
        "LOST",
        "NO_ANSWER",
        "REFUSED",
        "Late",
        "ScriptMismatchError",
        "Unasked",
        "block",
    ),
    "qmi.testing.scripted": (
        "AsyncScriptedTransport",
        "ScriptedTransport",
        "open_script",
    ),
    "qmi.testing.clock": (
        "SimulatedClock",
        "simulated_time",
    ),
    "qmi.testing.stand_in": (
        "RecordedCall",
        "StandInInstrument",
    ),
    "qmi.testing.task_bench": (
        "TaskBench",
        "open_task_bench",
    ),
    "qmi.testing.virtual_time": (
        "open_virtual_context",
        "run_in_virtual_time",
    ),
}


if not TYPE_CHECKING:

    def __getattr__(name):
        for module, names in _HOMES.items():
            if name in names:
                return globals().setdefault(name, getattr(import_module(module), name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
