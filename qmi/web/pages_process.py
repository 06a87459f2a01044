"""The program that serves the pages beside one that measures: started, watched, started again, and ended with it.

A thread of the measuring program waits for what that program says, and for its end. Another one sees whether it says
something at all: one that is frozen answers no browser, and is killed, so that it is started again.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Final, Self

from qmi.actors.context_status import PagesStatus
from qmi.actors.lock_pass import environment_without
from qmi.actors.tasks.restart import RestartRule, Restarts
from qmi.proc.child import how_it_ended
from qmi.proc.pidfiles import MARK
from qmi.runtime.forks import abandon_in_child

_logger = logging.getLogger("qmi.web")

PROGRAM: Final = "qmi.web.pages_program"
RESTARTS: Final = RestartRule(limit=None, window=120.0, first_delay=1.0, growth=2.0, longest_delay=60.0)
PATIENCE: Final = 5.0
"""How long the program has to end, in seconds."""
SILENCE: Final = 30.0
"""The program is killed if it says nothing for so long while it serves, in seconds; it says something every few."""
START_SILENCE: Final = 120.0
"""The same, while it starts."""


class _Lifeline:
    """The pipe whose end ends the program.

    Args:
        pipe: Its end on this side, which has no buffer and so no lock.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        abandon_in_child(self)  # a forked child that outlives this program would keep it open

    def abandon(self) -> None:
        """Close it."""
        self._pipe.close()


class PagesProcess:
    """Has the pages of a context served for the length of a block, by a process of their own.

    Args:
        context: The context whose configuration has them.
        config_file: The configuration file.
        show: Is told how they are served, each time that changes; in a thread.
    """

    def __init__(self, context: str, config_file: str, show: Callable[[PagesStatus], object]) -> None:
        self._context, self._config_file, self._show = context, config_file, show
        self._restarts = Restarts(RESTARTS)
        self._ending = threading.Event()
        # Held while a process is started, and while it is seen whether there is one to end: so none is started that
        # nobody ends.
        self._mutex = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: _Lifeline | None = None
        self._is_served = False
        # Set by the thread that reads, at each line and at the end; cleared by the one that watches.
        self._heard = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pages", daemon=True)

    def __enter__(self) -> Self:
        self._show(PagesStatus())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_soon()
        self._thread.join(PATIENCE)
        if self._thread.is_alive() and self._process is not None:
            _logger.warning("Process %d, which serves the pages, does not end, and is killed", self._process.pid)
            self._process.kill()
            self._thread.join()

    def end_soon(self) -> None:
        """Have the process end, and start none any more; waits for nothing."""
        self._ending.set()
        with self._mutex:
            if self._lifeline is not None:
                self._lifeline.abandon()
            if self._process is not None and not self._is_served:
                self._process.terminate()  # while it still imports its modules, it has nothing to put in order

    def _run(self) -> None:
        last = ""
        while True:
            why = self._serve()
            if self._ending.is_set():
                return
            delay = self._restarts.failed(time.monotonic()).delay
            assert delay is not None, "the rule never gives up"
            self._show(PagesStatus(why=why))
            level = logging.INFO if why == last else logging.WARNING  # the same again is no news
            _logger.log(
                level, "The pages of context %s are not served: %s; tried again in %g s", self._context, why, delay
            )
            last = why
            if self._ending.wait(delay):
                return

    def _serve(self) -> str:
        """Start the process, and wait for its end; returns why it has ended."""
        why = ""
        try:
            process = self._start()
        except OSError as error:
            return f"no process can be started: {error.strerror or error}"
        if process is None:
            return ""
        assert process.stdout is not None
        watch = _Watch(process, self._heard, lambda: SILENCE if self._is_served else START_SILENCE)
        with watch, process.stdout as pipe:
            for line in pipe:
                self._heard.set()
                told = _read(line)
                why = told.why or why
                if told.address:
                    self._is_served = True
                    self._show(told)
                    _logger.info("The laboratory is shown at %s by process %d", told.address, told.pid)
        code = process.wait()
        self._end_pipe()
        return watch.why or why or f"process {process.pid} {how_it_ended(code)}"

    def _end_pipe(self) -> None:
        """Close this end of the pipe of a process that has ended."""
        with self._mutex:
            if self._lifeline is not None:
                self._lifeline.abandon()
                self._lifeline = None

    def _start(self) -> subprocess.Popen[bytes] | None:
        command = [sys.executable, "-P", "-m", PROGRAM, self._context, "--config", self._config_file]
        with self._mutex:
            if self._ending.is_set():
                return None
            # In a session of its own: Ctrl-C is for this program, which then ends that one.
            process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
            assert process.stdin is not None
            self._process, self._lifeline, self._is_served = process, _Lifeline(process.stdin), False
            return process


class _Watch:
    """Kills a process that says nothing for too long, for the length of a block.

    Args:
        process: The process.
        heard: Is set when it says something.
        silence: Returns for how long it may say nothing, in seconds.

    Attributes:
        why: Why it was killed; empty if it was not.
    """

    def __init__(self, process: subprocess.Popen[bytes], heard: threading.Event, silence: Callable[[], float]) -> None:
        self._process, self._heard, self._silence = process, heard, silence
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="pages watch", daemon=True)
        self.why: str = ""

    def __enter__(self) -> None:
        self._heard.clear()
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._is_over = True
        self._heard.set()
        self._thread.join()

    def _run(self) -> None:
        # Half of the time twice: where this program was frozen and goes on, the time is over, and what the other one
        # has said meanwhile is read within the second half.
        silent = 0
        while silent < 2:
            silence = self._silence()
            silent = 0 if self._heard.wait(silence / 2) else silent + 1
            self._heard.clear()
            if self._is_over:
                return
        self.why = f"process {self._process.pid} has said nothing for {silence:g} s, and was killed"
        # It is not waited for yet, so that no other process has its number.
        self._process.kill()


def _read(line: bytes) -> PagesStatus:
    try:
        return PagesStatus.from_plain(json.loads(line))
    except ValueError:  # something else that is printed there
        return PagesStatus()


def _environment() -> dict[str, str]:
    """Variables with which it finds the same libraries as this program, and is neither it nor handed its locks."""
    found = environment_without(os.environ)
    found.pop(MARK, None)
    found["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path or os.getcwd() for path in sys.path))
    return found
