"""What start, stop and status mean for one context, here or on another machine, and how each can end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from qmi.config.schema import SERVE_MODULE
from qmi.config.validators import printable
from qmi.errors import (
    QMI_ConfigurationException,
    QMI_ConnectionException,
    QMI_Exception,
    QMI_RuntimeException,
    QMI_UnknownRpcException,
)
from qmi.proc.control_protocol import Absent, Answer, PeerLink, Present, StopRefusedError
from qmi.proc.helper_protocol import Command, Err, Ok, Reply, Start, StatusQuery, Stop, parse_already_running
from qmi.proc.launch import AlreadyRunningError, Launcher, Offline, PortInUseError, Running, Times, wait_silent
from qmi.proc.selection import Target
from qmi.proc.ssh.errors import ErrorSource, RemoteError
from qmi.proc.status import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_USAGE,
    ObjectState,
    State,
    Status,
    configured_objects,
    exit_code_offline,
)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
"""Seconds between two questions to a program that makes its instruments."""

_NO_PORT = "context {0!r} cannot be asked: it has no contexts.{0}.tcp_server_port"


class Remote(Protocol):
    """Carries commands to other machines; see `qmi.proc.ssh.client.RemoteHosts`."""

    def request(self, host: str, command: Command) -> Reply:
        """Have a command carried out on a host.

        Raises:
            RemoteError: If that fails.
        """
        ...


Notify = Callable[[Status], None]


class Controller:
    """Carries out commands about single contexts; every method may be used from several threads.

    Args:
        launcher: For programs of this machine.
        remote: For programs of others; None if all are of this machine.
        link: Asks running contexts.
        notify: Is told of every change.
        times: How long to wait for what.
    """

    def __init__(
        self, launcher: Launcher, remote: Remote | None, link: PeerLink, notify: Notify, *, times: Times
    ) -> None:
        self._launcher = launcher
        self._remote = remote
        self._link = link
        self._notify = notify
        self._times = times

    def start(self, target: Target) -> Status:
        """Start the program, wait until each of its instruments and tasks was tried, and say how that went."""
        return self._timed(target, State.STARTING, self._start)

    def stop(self, target: Target) -> Status:
        """Stop the program and say how that went."""
        return self._timed(target, State.STOPPING, self._stop_local if target.local else self._stop_remote)

    def status(self, target: Target) -> Status:
        """Say how the program is."""
        self._notify(_status(target, State.ASKING))
        status = self._look_local(target) if target.local else self._look_remote(target)
        status = self._with_pages(target, self._with_objects(target, status))
        self._notify(status)
        return status

    def restart_object(self, target: Target, name: str) -> Status:
        """Have a running context make one of its configured objects anew, and say how that went."""
        shown = replace(target, name=f"{target.name}.{name}")
        return self._timed(shown, State.STARTING, lambda _: self._restart_object(target, shown, name))

    def _restart_object(self, target: Target, shown: Target, name: str) -> Status:
        if target.address is None:
            return _status(shown, State.FAILED, detail=_NO_PORT.format(target.name), exit_code=EXIT_USAGE)
        # What it waits for: the old object's end, the constructor, open().
        limit = self._times.start + self._times.fit(target.context).soft
        try:
            told = self._link.call(target.name, target.address, "restart_object", timeout=limit, object_name=name)
        except QMI_RuntimeException as exc:
            cause = exc.__cause__
            detail = str(cause if isinstance(cause, QMI_Exception) else exc)
            return _status(shown, State.FAILED, detail=detail, exit_code=EXIT_FAILED)
        found = next(iter(configured_objects([told])), None)
        if found is None or found.state != "ready":
            detail = "what it answers makes no sense" if found is None else found.reason or found.state
            return _status(shown, State.FAILED, detail=detail, exit_code=EXIT_FAILED)
        return _status(shown, State.STARTED)

    def _with_objects(self, target: Target, status: Status) -> Status:
        """The status of a context that runs, with those of its configured objects that have failed."""
        listed = target.context.instruments or target.context.tasks
        if status.state is not State.RUNNING or not listed or target.address is None:
            return status
        try:
            told = self._link.call(target.name, target.address, "list_configured", timeout=self._times.ask)
        except QMI_RuntimeException:  # an older version, or it has ended meanwhile
            return status
        objects = configured_objects(told)
        failed = any(entry.state == "failed" for entry in objects)
        return replace(_with_unready(status, objects), exit_code=EXIT_FAILED if failed else status.exit_code)

    def _with_pages(self, target: Target, status: Status) -> Status:
        """The status of a context that runs, with where its pages are, or why they are not served."""
        if status.state is not State.RUNNING or target.context.web is None or target.address is None:
            return status
        # Only where there are pages.
        from qmi.actors.context_status import ContextStatus
        from qmi.actors.status_words import pages_words

        try:
            told = self._link.call(target.name, target.address, "get_status", timeout=self._times.ask)
        except QMI_RuntimeException:  # as above
            return status
        pages = ContextStatus.from_plain(told).pages
        if pages is None:
            return status
        where = "" if target.local or not pages.address else f", on {target.host}"  # as its own computer sees it
        detail = f"{status.detail}\npages {printable(pages_words(pages))}{where}"
        return replace(status, detail=detail, exit_code=EXIT_FAILED if pages.why else status.exit_code)

    def _timed(self, target: Target, state: State, act: Callable[[Target], Status]) -> Status:
        began = time.monotonic()
        self._notify(_status(target, state))
        try:
            status = act(target)
        except (PortInUseError, QMI_ConfigurationException) as exc:
            status = _status(target, State.FAILED, detail=str(exc), exit_code=EXIT_USAGE)
        except QMI_Exception as exc:
            unknown = isinstance(exc, RemoteError) and exc.culprit is ErrorSource.LOST
            state = State.UNKNOWN if unknown else State.FAILED
            status = _status(target, state, detail=str(exc), exit_code=EXIT_FAILED)
        status = replace(status, seconds=time.monotonic() - began)
        self._notify(status)
        return status

    def _start(self, target: Target) -> Status:
        status = self._start_local(target) if target.local else self._start_remote(target)
        listed = target.context.instruments or target.context.tasks
        if status.state is not State.STARTED or not listed or target.address is None:
            return status
        return self._when_tried(target, status)

    def _when_tried(self, target: Target, status: Status) -> Status:
        """The status of a program that was started, once it has tried to make all that its configuration lists.

        It answers on its port before it begins with that. Waits for its ``ready_timeout`` at most.
        """
        began, pause, fault = time.monotonic(), _FIRST_PAUSE, ""
        limit, patience = target.context.ready_timeout, self._times.begin
        objects: list[ObjectState] = []
        while True:
            try:
                told = self._link.call(target.name, target.address, "list_configured", timeout=self._times.ask)  # type: ignore[arg-type]
                objects, fault = configured_objects(told), ""
            except QMI_UnknownRpcException:  # an older version
                return status
            except QMI_ConnectionException as exc:
                if (ended := self._ended_meanwhile(target)) is not None:
                    return ended
                fault = str(exc)
            except QMI_RuntimeException as exc:
                fault = str(exc)
            waited = time.monotonic() - began
            # A program of the user's may never make them.
            begun = bool(objects) or (target.context.program != SERVE_MODULE and waited >= patience)
            if begun and not fault and not any(entry.unready for entry in objects):
                return _with_unready(status, objects)
            if waited >= limit:
                return _late(target, status, objects, fault, limit)
            missing = ", ".join(entry.name for entry in objects if entry.unready)
            waits_for = f"waits for {missing}" if missing else "waits for its instruments and tasks"
            self._notify(_status(target, State.STARTING, status.pid, status.version, detail=waits_for))
            time.sleep(min(pause, max(limit - waited, 0.0)))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _ended_meanwhile(self, target: Target) -> Status | None:
        if not target.local:
            return None
        found = self._launcher.look(target)
        if not isinstance(found, Offline):
            return None
        detail = found.reason or "it was stopped before its instruments and tasks were made"
        return _status(target, State.FAILED, detail=detail, exit_code=EXIT_FAILED)

    def _start_local(self, target: Target) -> Status:
        try:
            running = self._launcher.start(target)
        except AlreadyRunningError as exc:
            return _status(target, State.ALREADY_RUNNING, exc.pid, exc.version)
        return _status(target, State.STARTED, running.pid, running.version)

    def _stop_local(self, target: Target) -> Status:
        how = self._launcher.stop(target)
        return _status(target, State.OFFLINE if how is None else State.STOPPED, detail=how or "")

    def _look_local(self, target: Target) -> Status:
        found = self._launcher.look(target)
        if isinstance(found, Running):
            return replace(_status(target, State.RUNNING, found.pid, found.version), seconds=found.seconds)
        if isinstance(found, Offline):
            return _status(target, State.OFFLINE, detail=found.reason, exit_code=exit_code_offline(found.reason))
        return _status(target, State.FAILED, found.pid, detail=found.reason, exit_code=EXIT_FAILED)

    def _look_remote(self, target: Target) -> Status:
        answer = self._ask(target)
        if answer is None:
            return self._look_through_helper(target)
        if isinstance(answer, Present):
            return _status(target, State.RUNNING, answer.pid, answer.version)
        if answer == Absent():
            return self._look_for_reason(target)
        if isinstance(answer, Absent):
            return _status(target, State.OFFLINE, detail=answer.reason)
        detail = f"{target.address} is not this context: {answer.what}"
        return _status(target, State.FAILED, detail=detail, exit_code=EXIT_FAILED)

    def _look_through_helper(self, target: Target) -> Status:
        try:
            reply = self._carry(target.host, StatusQuery(target.name))
        except RemoteError as exc:
            return _status(target, State.UNKNOWN, detail=str(exc), exit_code=EXIT_FAILED)
        return _seen_by_helper(target, reply)

    def _look_for_reason(self, target: Target) -> Status:
        """Nothing listens at its port: its machine knows whether it was stopped or has failed."""
        try:
            reply = self._carry(target.host, StatusQuery(target.name))
        except RemoteError as exc:
            return _status(target, State.OFFLINE, detail=f"whether it has failed is not known: {exc}")
        if isinstance(reply, Ok) and reply.value:
            seen = f"nothing listens at {target.address} as seen from here"
            return _status(target, State.RUNNING, reply.value, detail=seen)
        return _seen_by_helper(target, reply)

    def _start_remote(self, target: Target) -> Status:
        if isinstance(answer := self._ask(target), Present):
            return _status(target, State.ALREADY_RUNNING, answer.pid, answer.version)
        # After a lost connection, the first start may go on over there; it keeps the second one waiting, which then
        # finds the program running.
        reply, note = self._request(target, Start(target.name), lambda now: isinstance(now, Present))
        if isinstance(reply, Err):
            running = parse_already_running(reply.message)
            if running is None:
                return _status(target, State.FAILED, detail=reply.message, exit_code=EXIT_FAILED)
            return _status(target, State.STARTED if note else State.ALREADY_RUNNING, *running, detail=note)
        found = self._ask(target)
        pid, version = (found.pid, found.version) if isinstance(found, Present) else (reply.value, "")
        return _status(target, State.STARTED, pid, version, detail=note)

    def _stop_remote(self, target: Target) -> Status:
        # Over the link first: that works without SSH, and is all that most stops need.
        answer = self._ask(target)
        pid = answer.pid if isinstance(answer, Present) else None
        if pid is not None and self._stop_over_link(target, pid):
            return _status(target, State.STOPPED)
        reply, note = self._request(
            target, Stop(target.name, pid), lambda now: pid is not None and isinstance(now, Absent)
        )
        if isinstance(reply, Err):
            return _status(target, State.FAILED, detail=reply.message, exit_code=EXIT_FAILED)
        return _status(target, State.STOPPED if reply.value or note else State.OFFLINE, detail=note)

    def _stop_over_link(self, target: Target, pid: int) -> bool:
        assert target.address is not None, "only a context with an address can have answered"
        deadline = time.monotonic() + self._times.fit(target.context).soft
        try:
            asked = self._link.request_stop(target.name, target.address, hard=False, timeout=self._times.ask)
        except StopRefusedError:  # its own machine may
            return False
        return asked and wait_silent(self._link, target, pid, deadline, ask=self._times.ask)

    def _request(self, target: Target, command: Command, done: Callable[[Answer | None], bool]) -> tuple[Reply, str]:
        """Have a command carried out on the target's host; when the connection is lost meanwhile, ask again.

        Args:
            target: The context.
            command: The command; carrying it out twice does no harm.
            done: Whether an answer on the context's port shows that it was carried out.

        Returns:
            The reply, and what to say if the connection was lost.

        Raises:
            RemoteError: If it fails, or nobody knows.
        """
        try:
            return self._carry(target.host, command), ""
        except RemoteError as exc:
            if exc.culprit is not ErrorSource.LOST:
                raise
            lost = exc
        self._notify(_status(target, State.ASKING, detail=f"{lost}; asking again"))
        try:
            return self._carry(target.host, command), f"{lost}; asked again"
        except RemoteError as exc:
            if done(self._ask(target)):
                return Ok(1), f"{lost}; asked its port"
            raise RemoteError(ErrorSource.LOST, f"{lost}; asked again: {exc}") from exc

    def _carry(self, host: str, command: Command) -> Reply:
        assert self._remote is not None, "only programs of other machines need it"
        return self._remote.request(host, command)

    def _ask(self, target: Target) -> Answer | None:
        if target.address is None:
            return None
        return self._link.ask(target.name, target.address, timeout=self._times.ask)


def _with_unready(status: Status, objects: list[ObjectState]) -> Status:
    """The status of a program, with those of its objects that have failed or are still to come."""
    unready = [str(entry) for entry in objects if entry.unready or entry.state == "failed"]
    return replace(status, detail="\n".join([status.detail, *unready])) if unready else status


def _late(target: Target, status: Status, objects: list[ObjectState], fault: str, limit: float) -> Status:
    """The status of a program that has not tried to make everything within its time."""
    setting = f"within {limit:g} s (contexts.{target.name}.ready_timeout)"
    if fault:
        note = f"whether its instruments and tasks are ready could not be found out {setting}: {fault}"
    elif not objects:
        note = f"it has not begun to make its instruments and tasks {setting}"
    else:
        note = f"not all of its instruments and tasks were ready {setting}"
    first = "; ".join(text for text in (status.detail, note) if text)
    return _with_unready(replace(status, detail=first), objects)


def _seen_by_helper(target: Target, reply: Reply) -> Status:
    if isinstance(reply, Err):
        return _status(target, State.FAILED, detail=reply.message, exit_code=EXIT_FAILED)
    if reply.value:
        return _status(target, State.RUNNING, reply.value)
    return _status(target, State.OFFLINE, detail=reply.text, exit_code=exit_code_offline(reply.text))


def _status(
    target: Target,
    state: State,
    pid: int | None = None,
    version: str = "",
    *,
    detail: str = "",
    exit_code: int = EXIT_OK,
) -> Status:
    return Status(target.name, target.host, state, pid, version, detail=detail, exit_code=exit_code)
