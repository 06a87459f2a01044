"""How a program of this machine is started, watched and stopped."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from qmi.config.schema import CfgContext, CfgQmi
from qmi.errors import QMI_RuntimeException
from qmi.proc.child import Child
from qmi.proc.control_protocol import Absent, PeerLink, Present, StopRefusedError
from qmi.proc.output import last_error, last_lines, make_output_dir, open_output
from qmi.proc.pidfiles import MARK, Record, Records
from qmi.proc.process import (
    ProcessIdentity,
    age,
    find_marked,
    identify,
    is_alive,
    is_descendant,
    listens_on,
    port_holder,
    send_signal,
    wait_gone,
)
from qmi.proc.program import Program, program_of
from qmi.proc.selection import Target
from qmi.proc.status import duration, failed_text
from qmi.runtime.interrupt_rules import PATIENCE

_POLL = 0.05
_LAST_WORDS = 3


class Times(Struct):
    """How long to wait, in seconds.

    Attributes:
        ask: For the answer of a context that is asked for its identity.
        start: For a program to be up.
        begin: For a program that is not ours to begin to make the instruments and tasks that its configuration lists.
        settle: How long a program without a TCP port must live to count as started.
        soft: For a program to end after it was asked to; comes on top of the ``stop_grace`` of its context.
        terminate: For it to end after SIGTERM; likewise. Before that is over, the program itself has stopped its
            contexts, whatever else it does: SIGKILL leaves its instruments as they are.
        kill: For it to be gone after SIGKILL.
    """

    ask: float = 2.0
    start: float = 30.0
    begin: float = 2.0
    settle: float = 0.5
    soft: float = 5.0
    terminate: float = PATIENCE + 5.0
    kill: float = 5.0

    def fit(self, context: CfgContext) -> Times:
        """The times for a program of this context, which waits for stuck drivers for its ``stop_grace``."""
        grace = context.stop_grace
        return replace(self, soft=self.soft + grace, terminate=self.terminate + grace)

    def longest_stop(self, context: CfgContext) -> float:
        """The most that a stop of a program of this context takes."""
        fitting = self.fit(context)
        return 3 * self.ask + 2 * fitting.soft + fitting.terminate + self.kill


class AlreadyRunningError(QMI_RuntimeException):
    """The program was to be started, and runs."""

    def __init__(self, pid: int, version: str) -> None:
        super().__init__(f"already running with process number {pid}")
        self.pid = pid
        self.version = version


class PortInUseError(QMI_RuntimeException):
    """The context's TCP port belongs to another program."""


class Running(Struct):
    """A program that runs.

    Attributes:
        pid: Its process.
        version: Its version of this library, if it told.
        seconds: For how long it has been running, if known.
    """

    pid: int
    version: str = ""
    seconds: float | None = None


class Offline(Struct):
    """A program that does not run.

    Attributes:
        reason: More about it, if there is more to say.
    """

    reason: str = ""


class Unresponsive(Struct):
    """A program whose process lives, but which does not answer on its port, or whose port somebody else has.

    Attributes:
        pid: Its process, if it is known.
        reason: What was found instead.
    """

    pid: int | None
    reason: str


class Launcher:
    """Starts and stops the programs of one configuration on this machine.

    Args:
        config: The configuration.
        link: Asks running contexts.
        times: How long to wait for what.
        now: Tells the date and time that output files are named after.
    """

    def __init__(
        self,
        config: CfgQmi,
        link: PeerLink,
        *,
        times: Times | None = None,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._config = config
        self._link = link
        self._times = times or Times()
        self._now = now
        self._records = Records.of(config)

    def look(self, target: Target) -> Running | Offline | Unresponsive:
        """Find out whether a program runs, by its port if it has one, else by what is remembered of its process."""
        known = self._remembered(target.name)
        if target.address is not None:
            answer = self._link.ask(target.name, target.address, timeout=self._times.ask)
            if isinstance(answer, Present):
                identity = identify(answer.pid)
                return Running(answer.pid, answer.version, age(identity) if identity else None)
            found = answer.reason if isinstance(answer, Absent) else answer.what
            if known is not None:
                began = f"began {duration(age(known) or 0.0)} ago, and"
                return Unresponsive(known.pid, f"the process {began} does not answer at {target.address}: {found}")
            if not isinstance(answer, Absent):
                return Unresponsive(None, f"{target.address} is not this context: {found}")
        elif known is not None:
            return Running(known.pid, "", age(known))
        return self._offline(target.name)

    def start(self, target: Target) -> Running:
        """Start a program and wait until it is up.

        Raises:
            AlreadyRunningError: If it runs.
            PortInUseError: If its port is taken.
            QMI_RuntimeException: If it cannot be started, or does not come up; with the end of its output.
        """
        began = time.monotonic()
        program = program_of(target.name, target.context, self._config, os.environ)
        # Two starts of one program at a time: the second one waits, and then finds it running.
        with self._records.guard(target.name):
            self._refuse_if_there(target)
            child, identity = self._launch(target, program)
            version = self._wait_until_up(target, child, identity)
        return Running(identity.pid, version, time.monotonic() - began)

    def stop(self, target: Target, pid: int | None = None) -> str | None:
        """Stop a program: by asking it, then by SIGTERM, then by SIGKILL.

        Args:
            target: The context.
            pid: Stop only this process, if it is the program's.

        Returns:
            How it ended, empty when it did so as asked; None if it does not run, or not as that process.

        Raises:
            QMI_RuntimeException: If it does not end, or may not be signalled.
        """
        # Without a home that can be written to, nothing is remembered; what listens on its port can be asked.
        with self._records.guard(target.name, needed=target.address is None):
            identity, answers = self._find(target)
            if identity is None:
                # What is remembered of it is stale: the number may be another program's by now.
                self._records.forget(target.name)
                return None
            if pid is not None and pid != identity.pid:
                return None
            ours = self._is_ours(target, identity)
            refusal = ""
            try:
                if self._stop_softly(target, identity, answers=answers, ours=ours):
                    self._records.forget(target.name)
                    return ""
            except StopRefusedError as exc:
                refusal = str(exc)
            how = self._stop_hard(target, identity, ours=ours, refusal=refusal)
            self._records.forget(target.name)
            return how

    def _remembered(self, name: str) -> ProcessIdentity | None:
        record = self._records.read(name)
        if record is None or record.pid or not record.mark:
            return record.identity if record is not None and is_alive(record.identity) else None
        # The program that started it was killed before it could write the number down.
        identity = find_marked(MARK, record.mark)
        if identity is not None:
            with contextlib.suppress(QMI_RuntimeException):  # then it is looked for again
                self._records.write(name, replace(record, pid=identity.pid, born=identity.born))
        return identity

    def _offline(self, name: str) -> Offline:
        record = self._records.read(name)
        if record is None:
            return Offline()
        if not record.pid and not record.ended:
            return Offline("a start of it was broken off before its program ran")
        # A stop forgets the record, so this program ended by itself.
        output = Path(record.output)
        words = f"Its output is in {output}{_quoted(output, _LAST_WORDS)}"
        if failure := last_error(output) or record.ended:
            return Offline(failed_text(record.pid, failure, words))
        return Offline(f"process {record.pid} ended without being stopped. {words}")

    def _refuse_if_there(self, target: Target) -> None:
        found = self.look(target)
        if isinstance(found, Running):
            raise AlreadyRunningError(found.pid, found.version)
        if isinstance(found, Unresponsive) and found.pid is not None:
            raise QMI_RuntimeException(
                f"process {found.pid} of this program is in the way: {found.reason}; stop it first"
            )
        if target.address is None:
            return
        reason = found.reason if isinstance(found, Unresponsive) else _cannot_bind(target)
        if reason:
            holder = port_holder(target.address)
            by = f" by {holder}" if holder else ""
            remedy = f"stop what has it, or choose another contexts.{target.name}.tcp_server_port"
            raise PortInUseError(f"port {target.address.port} is in use{by}: {reason}; {remedy}")

    def _launch(self, target: Target, program: Program) -> tuple[Child, ProcessIdentity]:
        handle, path = open_output(
            make_output_dir(self._config, target.name), target.name, program.command, now=self._now()
        )
        try:
            # Before anything runs: what cannot be remembered could not be stopped.
            module = target.context.program or ""
            mark = os.urandom(16).hex()
            self._records.write(target.name, Record(0, "", module, str(path), mark=mark))
            import subprocess  # only a start needs it

            # start_new_session: neither the end of this terminal nor Ctrl-C in it reaches the program.
            process = subprocess.Popen(
                program.arguments,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                # It goes on when the lock of whoever has started it is given back, and is not to be refused then.
                env={**_without_passes(), **program.environment, MARK: mark},
                start_new_session=True,
            )
        except OSError as exc:
            self._records.forget(target.name)
            raise QMI_RuntimeException(f"cannot run {program.command}: {exc.strerror}") from exc
        finally:
            os.close(handle)
        # Nobody has waited for the process yet, so its number is its own; only its end can have come.
        identity = identify(process.pid) or ProcessIdentity(process.pid, "ended")
        child = Child(process, path)
        try:
            self._records.write(target.name, Record(identity.pid, identity.born, module, str(path), mark=mark))
        except QMI_RuntimeException:
            process.kill()
            raise
        return child, identity

    def _wait_until_up(self, target: Target, child: Child, identity: ProcessIdentity) -> str:
        deadline = time.monotonic() + (self._times.start if target.address else self._times.settle)
        found = ""
        while not child.ended_within(_POLL if target.address else self._times.settle):
            if target.address is None:
                return ""
            answer = self._link.ask(target.name, target.address, timeout=self._times.ask)
            if isinstance(answer, Present):
                if is_descendant(answer.pid, identity):
                    return answer.version
                found = f"process {answer.pid} answers at {target.address} instead"
            else:
                found = answer.reason if isinstance(answer, Absent) else answer.what
            if time.monotonic() >= deadline:
                raise QMI_RuntimeException(
                    f"process {child.pid} runs, but did not answer at {target.address} within "
                    f"{self._times.start:g} s: {found}. Its output is in {child.output}{_quoted(child.output)}"
                )
        # The record keeps the reason for later commands.
        how = f"{child.how_it_ended()} at start"
        module = target.context.program or ""
        self._records.write(target.name, Record(child.pid, identity.born, module, str(child.output), how))
        words = _quoted(child.output)
        raise QMI_RuntimeException(f"{how}. Its output is in {child.output}{words}{_where(target, words)}")

    def _find(self, target: Target) -> tuple[ProcessIdentity | None, bool]:
        """The process of the program, and whether it answers."""
        if target.address is not None:
            answer = self._link.ask(target.name, target.address, timeout=self._times.ask)
            if isinstance(answer, Present):
                # Not to be found here: it runs, but as a process of another machine or container.
                return identify(answer.pid) or ProcessIdentity(answer.pid, "elsewhere"), True
        return self._remembered(target.name), False

    def _is_ours(self, target: Target, identity: ProcessIdentity) -> bool:
        """Whether there is proof that the process is the program, beyond what somebody says on a port."""
        if identity == self._remembered(target.name):
            return True
        return target.address is not None and listens_on(identity, target.address.port)

    def _stop_softly(self, target: Target, identity: ProcessIdentity, *, answers: bool, ours: bool) -> bool:
        deadline = time.monotonic() + self._times.fit(target.context).soft
        if target.address is not None:
            if answers:
                asked = self._link.request_stop(target.name, target.address, hard=False, timeout=self._times.ask)
                return asked and self._wait_stopped(target, identity, deadline, ours=ours)
            return False
        # Without a port there is nobody to ask; Ctrl-C is what a program by itself understands.
        with contextlib.suppress(PermissionError):
            send_signal(identity, signal.SIGINT)
        return self._wait_stopped(target, identity, deadline, ours=ours)

    def _wait_stopped(self, target: Target, identity: ProcessIdentity, deadline: float, *, ours: bool) -> bool:
        if ours:
            return wait_gone(identity, deadline - time.monotonic())
        # A process that we cannot see: what we can see is that it no longer answers.
        return wait_silent(self._link, target, identity.pid, deadline, ask=self._times.ask)

    def _stop_hard(self, target: Target, identity: ProcessIdentity, *, ours: bool, refusal: str) -> str:
        if refusal and not ours:
            raise QMI_RuntimeException(
                f"{refusal}; process {identity.pid} is not known to be it (it was not started from here): not signalled"
            )
        times = self._times.fit(target.context)
        why = refusal or "it did not stop when asked"
        if refusal:
            # What it would do when asked, it does when its own machine asks.
            with contextlib.suppress(PermissionError):
                if not send_signal(identity, signal.SIGINT) or wait_gone(identity, times.soft):
                    return f"ended by SIGINT, since {why}"
        if not ours:
            address = target.address
            assert address is not None, "without a port, every process is known by its record"
            deadline = time.monotonic() + times.terminate
            asked = self._link.request_stop(target.name, address, hard=True, timeout=times.ask)
            if asked and self._wait_stopped(target, identity, deadline, ours=False):
                return "ended by a hard stop, since it did not stop when asked"
            raise QMI_RuntimeException(
                f"it did not stop within {times.soft:g} s, and process {identity.pid} is not known to be it "
                f"(it was not started from here, and does not listen on the context's port): not signalled"
            )
        for number, seconds in ((signal.SIGTERM, times.terminate), (_KILL, times.kill)):
            try:
                if not send_signal(identity, number) or wait_gone(identity, seconds):
                    return f"ended by {number.name}, since {why}{_LEFT if number is not signal.SIGTERM else ''}"
            except PermissionError as exc:
                raise QMI_RuntimeException(f"process {identity.pid} may not be signalled: {exc}") from exc
        raise QMI_RuntimeException(
            f"process {identity.pid} is still there {times.kill:g} s after SIGKILL: it hangs in the kernel"
        )


_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_LEFT = ", nor by SIGTERM; its instruments were not closed"


def wait_silent(link: PeerLink, target: Target, pid: int, deadline: float, *, ask: float) -> bool:
    """Wait until a process no longer answers for a context that has an address.

    Args:
        link: Asks the context.
        target: The context.
        pid: The process.
        deadline: Until when, by the monotonic clock.
        ask: Seconds for each answer.

    Returns:
        Whether it has become silent.
    """
    assert target.address is not None, "without a port, nobody is asked"
    while time.monotonic() < deadline:
        answer = link.ask(target.name, target.address, timeout=ask)
        if not (isinstance(answer, Present) and answer.pid == pid):
            return True
        time.sleep(_POLL)
    return False


def _cannot_bind(target: Target) -> str:
    """Why the context could not listen on its port now; empty if it could, or if the reason is another one."""
    from qmi.net.io.listener import PORT_OPTION  # with trio, which takes longer than all else here

    assert target.address is not None
    host, port = target.address
    try:
        for family, kind, proto, _, where in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, proto) as probe:
                probe.setsockopt(socket.SOL_SOCKET, PORT_OPTION, 1)
                probe.bind(where)
    except OSError as exc:
        return "it cannot be opened a second time" if exc.errno == errno.EADDRINUSE else ""
    return ""


def _where(target: Target, words: str) -> str:
    """Where a program was run whose module was not found; empty if its last words are others."""
    package = (target.context.program or "").partition(".")[0]
    if not re.search(rf"No module named '?{re.escape(package)}(?![\w-])", words):
        return ""
    return f"\nIt was run in {os.getcwd()}; contexts.{target.name}.python_path says where its modules are"


def _quoted(output: Path, count: int = 10) -> str:
    lines = last_lines(output, count)
    return ":\n" + lines if lines else ", and empty"


def _without_passes() -> dict[str, str]:
    from qmi.actors.lock_pass import environment_without  # only what starts programs needs it

    return environment_without(os.environ)
