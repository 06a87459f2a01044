"""What ``make demo`` shows: the main uses of the library in a few seconds, chapter by chapter.

A chapter is a function that gets a :class:`~qmi.tools.stage.Stage`, stands on its own and leaves nothing behind. To add
one, write it and enter it into ``CHAPTERS``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import qmi
from qmi.core.exceptions import QMI_ObjectLockedException
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.tools.demo_browser import in_a_browser
from qmi.tools.demo_command import command_line
from qmi.tools.demo_loop import control_loop
from qmi.tools.demo_programs import three_programs
from qmi.tools.stage import Stage
from qmi.utils.context_managers import open_close, start_stop

SAMPLES = 1000
PERIOD = 0.001
"""Time between two samples, in seconds."""

INTERRUPTED = 130
"""What shells expect as the exit code of a program that ended by Ctrl-C."""


def one_program(stage: Stage) -> None:
    """A context, an instrument, a lock, a thousand samples."""
    stage.say("A context is the home of instruments. Nothing is configured here, and nothing is written to the disk.")
    stage.code('qmi.start("lab", None)\nnsg = qmi.make_instrument("nsg", NoisySineGenerator)')
    # The refused call below is logged as an error; here it is shown instead.
    with start_stop(qmi, "lab", None, console_loglevel="CRITICAL"):
        nsg = qmi.make_instrument("nsg", NoisySineGenerator)
        with open_close(nsg):
            stage.result(repr(nsg))
            stage.table(("object", "class"), qmi.list_rpc_objects())
            _lock(stage, nsg)
            _measure(stage, nsg)


def _lock(stage: Stage, nsg: NoisySineGenerator) -> None:
    stage.say("\nWho locks an instrument has it alone. Somebody else is refused, and told who holds it:")
    stage.code('nsg.lock()\nother = qmi.get_instrument("lab.nsg")\nother.set_amplitude(0.0)')
    nsg.lock()
    other = qmi.get_instrument("lab.nsg")
    try:
        other.set_amplitude(0.0)
    except QMI_ObjectLockedException as error:
        stage.refusal(error)
    else:
        raise AssertionError("a call went through a lock")
    finally:
        nsg.unlock()


def _measure(stage: Stage, nsg: NoisySineGenerator) -> None:
    stage.say("\nA measurement:")
    stage.code(f"samples = [nsg.get_sample() for _ in range({SAMPLES})]")
    samples = []
    begin = due = time.perf_counter()
    for _ in stage.each(range(SAMPLES), "measuring"):
        samples.append(nsg.get_sample())
        due += PERIOD
        time.sleep(max(due - time.perf_counter(), 0.0))
    took = time.perf_counter() - begin
    stage.picture(samples)
    stage.result(f"{len(samples)} samples in {took:.2f} s, mean {statistics.fmean(samples):.2f}")
    begin = time.perf_counter()
    for _ in range(SAMPLES):
        nsg.get_sample()
    stage.result(f"without the waiting: {(time.perf_counter() - begin) / SAMPLES * 1e6:.0f} µs for a call")


Chapter = Callable[[Stage], None]

CHAPTERS: Mapping[str, Chapter] = {
    "one-program": one_program,
    "three-programs": three_programs,
    "control-loop": control_loop,
    "command-line": command_line,
    "browser": in_a_browser,
}


def main(arguments: Sequence[str] | None = None, stage: Stage | None = None) -> int:
    """Show the demonstration.

    Args:
        arguments: Names of chapters; none means all. None takes those of the command line.
        stage: Where to show it; None is standard output.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m qmi.tools.demo", description="See the library at work.")
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help=f"one of {', '.join(CHAPTERS)}; default: all")
    names = parser.parse_args(arguments).chapters
    for name in names:
        if name not in CHAPTERS:
            parser.error(f"there is no chapter {name!r}; there are {', '.join(CHAPTERS)}")
    stage = Stage() if stage is None else stage
    try:
        for name in names or CHAPTERS:
            stage.title((CHAPTERS[name].__doc__ or name).splitlines()[0])
            CHAPTERS[name](stage)
    except KeyboardInterrupt:
        stage.failure("Broken off; everything has been closed.")
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
