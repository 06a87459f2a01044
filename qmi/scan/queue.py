"""A queue of scans, as a task: one after the other, whoever has given them, also when that program is gone.

Which threads: published methods come in any thread, the event loop among them; the scans are carried out in the thread
of the task. ``_mutex`` guards the state and what runs; nothing that may wait is called with it. ``_writing`` is held
while the file is written, which may take long: with it ``_mutex`` is taken for a moment, and never the other way round.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import cbor2
import trio

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import answered_by, direct_method
from qmi.actors.pubsub.signal import QMI_Signal
from qmi.actors.tasks.runner import QMI_TaskRunner
from qmi.actors.tasks.task import QMI_Task, TaskRunner
from qmi.config.paths import Places
from qmi.config.validators import printable
from qmi.contexts.async_context import Context
from qmi.data.file_lock import try_lock
from qmi.data.whole_files import write_whole
from qmi.errors import (
    QMI_CancelledCallException,
    QMI_Exception,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_NotConnectedException,
    QMI_RecordingException,
    QMI_TaskStopException,
    QMI_UsageException,
)
from qmi.messages import LockInfo
from qmi.names import parse_address
from qmi.net.codec.codec import Codec
from qmi.scan.building import Functions, build, load_functions
from qmi.scan.description import Description, description_of
from qmi.scan.engine import Scan
from qmi.scan.queue_state import Queued, QueueState
from qmi.scan.running import Caller, Label, ScanInfo, labelled

_logger = logging.getLogger("qmi.scan")

_LONGEST: Final = 200
"""Characters that are kept of what a program says of itself."""
_LONGEST_TEXT: Final = 2000
"""Characters that are kept in the list of what a scan is, what is said of it, and why it has failed."""
_ON_ERROR: Final = ("continue", "pause")
_CODEC: Final = Codec()


class ScanQueueRunner(QMI_TaskRunner):
    """The runner of a :class:`ScanQueue`: what others ask of it, which is answered at once, also while it scans."""

    task: ScanQueue

    @property
    def time_to_stop(self) -> float:
        """How long the end of the scan may take that runs, in seconds."""
        return self.task.time_to_end()

    def release_rpc_object(self) -> object:
        """Ask the task to stop; gives something to await its end with."""
        task = self.task
        super().release_rpc_object()
        ended = self.task_executor.ended
        ended.add_done_callback(task.close)  # also one that was never started
        return ended

    def _who(self) -> Caller:
        return Caller.of_now(self._core())

    def _core(self) -> Context:
        core = self._context.async_context
        assert isinstance(core, Context), "each context is one"
        return core

    @answered_by("_begin_submit")
    def submit(
        self, description: dict[str, object], known_as: str, user: str = "", program: str = "", host: str = ""
    ) -> str:
        """Put a scan behind all others. Use :meth:`Scan.submit() <qmi.scan.Scan.submit>`, which calls this.

        All that it names is looked up first: instruments, parameters, functions.

        Args:
            description: The scan, as plain data.
            known_as: What the caller calls this context.
            user: Who wants it.
            program: In which program.
            host: On which computer.

        Returns:
            Its id.

        Raises:
            QMI_Exception: If it cannot be carried out here; says what is missing.
        """
        return self._begin_submit(description, known_as, user, program, host).wait()

    def _begin_submit(
        self, description: dict[str, object], known_as: str, user: str = "", program: str = "", host: str = ""
    ) -> QMI_RpcFuture[str]:
        said = (known_as, user, program, host)
        if not all(isinstance(text, str) for text in said):
            raise QMI_InvalidValueException(f"known_as, user, program and host must be texts, got {said!r}")
        found = description_of(description)
        core = self._core()
        if known_as != core.name:
            found = found.moved(known_as, core.name)
        who = [printable(text[:_LONGEST]) for text in said[1:]]
        return core.run(self._check_and_add, found, who, str(self._who()))

    async def _check_and_add(self, description: Description, who: list[str], origin: str) -> str:
        task = self.task
        functions = await trio.to_thread.run_sync(load_functions, description, task.modules)
        proxies = {}
        for address in description.addresses():
            _check_usable(self._core(), address)
            proxies[address] = await self._core().get_rpc_object(address)
        # How many points there are is not what somebody says.
        description = replace(description, length=build(description, proxies, functions).length)
        # Not abandoned if the caller goes: either it is in the queue, and on the disk, or it is not.
        return await trio.to_thread.run_sync(task.add, description, who, origin)

    @direct_method
    def list_scans(self) -> list[ScanInfo]:
        """All scans: the last hundred that have ended, the one that runs, and those that wait, the next one first."""
        return self.task.infos()

    @direct_method
    def get_scan(self, scan_id: str) -> ScanInfo:
        """One of them.

        Raises:
            QMI_UnknownNameException: If there is none of that id.
        """
        return self.task.info(scan_id)

    @answered_by("_begin_get_outcome")
    def get_outcome(self, scan_id: str) -> ScanInfo:
        """Wait until a scan has ended.

        Returns:
            How it has ended. An error is in its ``reason``.

        Raises:
            QMI_UnknownNameException: If there is none of that id.
            QMI_InvalidOperationException: If the queue is stopped before that; what waits goes on when it starts again.
        """
        return self._begin_get_outcome(scan_id).wait()

    def _begin_get_outcome(self, scan_id: str) -> QMI_RpcFuture[ScanInfo]:
        return self.task.outcome(scan_id)

    @direct_method
    def get_pause_reason(self) -> str | None:
        """Why no scan is begun for now; None if the queue is not paused."""
        return self.task.pause_reason()

    # What changes the state is answered when it is on the disk, and keeps nobody waiting until then.

    def _saved(self) -> QMI_RpcFuture[None]:
        return self._core().run(self._save)

    async def _save(self) -> None:
        await trio.to_thread.run_sync(self.task.save)

    @answered_by("_begin_pause_queue")
    def pause_queue(self, reason: str = "") -> None:
        """Begin no other scan; the one that runs goes on.

        Args:
            reason: Why; everybody can see it.
        """
        self._begin_pause_queue(reason).wait()

    def _begin_pause_queue(self, reason: str = "") -> QMI_RpcFuture[None]:
        if not isinstance(reason, str):
            raise QMI_InvalidValueException(f"reason must be a text, got {reason!r}")
        who = self._who()
        self.task.pause_queue(f"paused by {who}" + (f": {printable(reason[:_LONGEST])}" if reason else ""))
        _logger.log(who.level, "Queue %s is paused by %s", self.task.address, who)
        return self._saved()

    @answered_by("_begin_resume_queue")
    def resume_queue(self) -> None:
        """Go on with the queue after a pause."""
        self._begin_resume_queue().wait()

    def _begin_resume_queue(self) -> QMI_RpcFuture[None]:
        who = self._who()
        _logger.log(who.level, "Queue %s goes on, as %s wants", self.task.address, who)
        self.task.pause_queue(None)
        return self._saved()

    @answered_by("_begin_remove_scan")
    def remove_scan(self, scan_id: str) -> None:
        """Remove a scan that waits.

        Raises:
            QMI_UnknownNameException: If there is none of that id.
            QMI_InvalidOperationException: If it does not wait.
        """
        self._begin_remove_scan(scan_id).wait()

    def _begin_remove_scan(self, scan_id: str) -> QMI_RpcFuture[None]:
        self.task.remove(scan_id, self._who())
        return self._saved()

    @answered_by("_begin_move_scan")
    def move_scan(self, scan_id: str, position: int = 0) -> None:
        """Have a scan that waits carried out earlier or later; errors as for :meth:`remove_scan`.

        Args:
            scan_id: Its id.
            position: How many that wait are before it then; 0 makes it the next one.
        """
        self._begin_move_scan(scan_id, position).wait()

    def _begin_move_scan(self, scan_id: str, position: int = 0) -> QMI_RpcFuture[None]:
        self.task.move(scan_id, position, self._who())
        return self._saved()

    @direct_method
    def pause_scan(self, scan_id: str) -> None:
        """Have the scan that runs wait before its next point.

        Raises:
            QMI_UnknownNameException: If there is none of that id.
            QMI_InvalidOperationException: If it does not run.
        """
        self.task.steer(scan_id, Scan.pause, "paused", self._who())

    @direct_method
    def resume_scan(self, scan_id: str) -> None:
        """Have the scan that runs go on after a pause; errors as for :meth:`pause_scan`."""
        self.task.steer(scan_id, Scan.resume, "resumed", self._who())

    @answered_by("_begin_stop_scan")
    def stop_scan(self, scan_id: str) -> None:
        """Have the scan that runs end after this point, or remove one that waits.

        Raises:
            QMI_UnknownNameException: If there is none of that id.
            QMI_InvalidOperationException: If it has ended.
        """
        self._begin_stop_scan(scan_id).wait()

    def _begin_stop_scan(self, scan_id: str) -> QMI_RpcFuture[None]:
        self.task.end(scan_id, Scan.stop, "stopped", self._who())
        return self._saved()

    @answered_by("_begin_abort_scan")
    def abort_scan(self, scan_id: str) -> None:
        """Have the scan that runs end now, or remove one that waits; errors as for :meth:`stop_scan`."""
        self._begin_abort_scan(scan_id).wait()

    def _begin_abort_scan(self, scan_id: str) -> QMI_RpcFuture[None]:
        self.task.end(scan_id, Scan.abort, "aborted", self._who())
        return self._saved()


def _check_usable(core: Context, address: str) -> None:
    name, thing = parse_address(address, core.name)
    if thing.startswith("$"):
        raise QMI_UsageException(f"A scan for a queue uses instruments and tasks, and {address} is part of a context")
    if name != core.name and not core.has_peer_context(name):
        raise QMI_NotConnectedException(
            f"The scan uses {address}, and context {core.name!r}, in which the queue is, is not connected to context "
            f"{name!r}: have it connected ({core.name}.connect_to_peers in the configuration, with reconnect), and "
            "submit the scan again"
        )


class _Job:
    """The scan that is carried out."""

    def __init__(self, queued: Queued) -> None:
        self.queued = queued
        self.scan: Scan | None = None
        self.reason = ""
        self.asked: list[Callable[[Scan], None]] = []
        self.locking: QMI_RpcFuture[object] | None = None
        self.ends = ""  # how it is to have ended, if somebody wants that

    def info(self) -> ScanInfo:
        """What is known of it now."""
        info, scan = self.queued.info, self.scan
        if scan is None:
            return info._replace(state="waiting" if self.reason else info.state, reason=self.reason)
        points, length = scan.progress
        state = "waiting" if self.reason else "running" if scan.state == "ready" else scan.state
        return info._replace(state=state, reason=self.reason, points=points, length=length, run_id=scan.summary[2])


class ScanQueue(QMI_Task[object, object]):
    """Carries out scans that programs give to it: ``context.make_task("scans", ScanQueue)``, and ``start()``.

    ``scan(...).submit("lab.scans")`` puts one behind all others. What waits is kept on disk, and is there again when
    the program is started anew; a scan that ran meanwhile is "interrupted", and not begun again.

    Args:
        task_runner: What runs the task.
        name: Name of the task in its context.
        modules: The modules and packages whose functions scans may use. Whoever is connected may have them called, so
            name no module that has other functions than those.
        reserve: Whether the instruments of a scan are locked for it while it runs, with its id as the reason.
        lock_timeout: How long a scan waits for an instrument that somebody has locked, in seconds, before it fails;
            None waits as long as it takes. Those behind it wait too.
        on_error: What becomes of the queue when a scan fails: it goes on with the next one ("continue"), or is paused
            ("pause").
        file: Where the queue is kept; None is a file in the QMI home directory.

    Raises:
        QMI_InvalidValueException: If an argument will not do.
        QMI_InvalidOperationException: If another program has this queue.
    """

    default_runner: ClassVar[type[object] | None] = ScanQueueRunner

    sig_changed: QMI_Signal = QMI_Signal([str, str])
    """Published when a scan is added, begins, ends, or changes its state: its id and its state."""

    def __init__(
        self,
        task_runner: TaskRunner,
        name: str,
        *,
        modules: Collection[str] = (),
        reserve: bool = False,
        lock_timeout: float | None = None,
        on_error: str = "continue",
        file: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(task_runner, name)
        if isinstance(modules, str) or not all(isinstance(each, str) and each for each in modules):
            raise QMI_InvalidValueException(f"modules must be a list of names of modules, got {modules!r}")
        if on_error not in _ON_ERROR:
            raise QMI_InvalidValueException(f"on_error must be 'continue' or 'pause', got {on_error!r}")
        if lock_timeout is not None and (isinstance(lock_timeout, bool) or not lock_timeout >= 0):
            raise QMI_InvalidValueException(f"lock_timeout must be None or >= 0 seconds, got {lock_timeout!r}")
        self.modules: frozenset[str] = frozenset(modules)
        self.address: str = f"{self._context.name}.{name}"
        self._reserve, self._lock_timeout, self._on_error = bool(reserve), lock_timeout, on_error
        self._mutex = threading.RLock()
        self._writing = threading.Lock()
        self._job: _Job | None = None
        self._next: QMI_RpcFuture[None] = QMI_RpcFuture("the next scan")
        self._waiters: dict[str, list[QMI_RpcFuture[ScanInfo]]] = {}
        self._path = Path(file).expanduser().absolute() if file is not None else self._usual_path()
        self._closed = False
        self._free_file = self._hold_file()
        try:
            self._state = self._read()
        except BaseException:
            self._free_file()
            raise

    # What is on disk

    def _usual_path(self) -> Path:
        home = Places(self._context.get_config(), self._context.name).qmi_home()
        return Path(home, "qmi_data", "scans", f"{self.address}.queue")

    def _unusable(self, error: OSError) -> QMI_RecordingException:
        return QMI_RecordingException(
            f"The queue {self.address} cannot be kept in {self._path}: {error.strerror or error}. Give it a file "
            'that can be read and written: make_task("scans", ScanQueue, file=...)'
        )

    def _hold_file(self) -> Callable[[], object]:
        """Keep other programs from the file, until what is returned is called, or this program ends in any way."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            held = os.open(self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise self._unusable(error) from error
        if try_lock(held):
            return weakref.finalize(self, os.close, held)
        os.close(held)
        raise QMI_InvalidOperationException(f"Another program, or another task of this one, has the queue {self._path}")

    def _read(self) -> QueueState:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return QueueState(self._name)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            state = QueueState.of(self._name, cbor2.loads(content), time.time())
        except Exception as error:  # noqa: BLE001 - what a decoder raises of damaged data, or what is made of them, is anything
            kept = self._path.with_name(f"{self._path.name}.damaged")
            try:
                os.replace(self._path, kept)
            except OSError as failure:
                raise self._unusable(failure) from failure
            _logger.error(
                "The queue %s begins empty: its file was damaged (%s) and is kept as %s", self.address, error, kept
            )
            return QueueState(self._name)
        if state.waiting:
            _logger.info("%d scans wait in queue %s", len(state.waiting), self.address)
        return state

    def _write(self, plain: dict[str, object]) -> None:
        """Called with ``_writing`` held, so that what is written last is what is so.

        Raises:
            QMI_RecordingException: If it cannot be written.
        """
        try:
            write_whole(self._path, cbor2.dumps(plain), overwrite=True)
        except OSError as error:
            raise QMI_RecordingException(
                f"The queue {self.address} cannot be written to {self._path}: {error.strerror or error}"
            ) from error

    def save(self) -> None:
        """Write the queue as it is now; what fails is logged. Not in the event loop."""
        try:
            with self._writing:
                with self._mutex:
                    plain = self._state.plain()
                self._write(plain)
        except QMI_RecordingException as error:
            _logger.error("%s; after a new start it will be as it was written last", error)

    # What the runner is asked, in any thread

    def add(self, description: Description, who: list[str], origin: str) -> str:
        """Put a scan behind all others; returns its id.

        Args:
            description: The scan.
            who: User, program and host.
            origin: Which program has given it, for the log.

        Raises:
            QMI_RecordingException: If that cannot be written to the disk; then it is not added.
            QMI_ValueNotSendableException: If a value of it cannot be kept.
        """
        encoded = _CODEC.encode(description.plain(), "scan")
        data = cbor2.dumps([encoded.payload, [bytes(segment) for segment in encoded.segments]])
        user, program, host = who
        with self._writing:  # until it is in the state, too: nobody writes the file without it meanwhile
            with self._mutex:
                scan_id, plain = self._state.next_id(), self._state.plain()
            info = ScanInfo(
                scan_id,
                printable(str(description)[:_LONGEST_TEXT]),
                "waiting",
                length=description.length,
                submitted=time.time(),
                user=user,
                program=program,
                host=host,
                comment=printable(description.comment[:_LONGEST_TEXT]),
            )
            self._write({**plain, "waiting": [*cast("list[object]", plain["waiting"]), [list(info), data]]})
            with self._mutex:
                self._state.add(Queued(info, data))
                self._wake()
        _logger.info("Scan %s is added to queue %s by %s: %s", info.id, self.address, _who(info) or origin, info.what)
        self._tell(info)
        return info.id

    def infos(self) -> list[ScanInfo]:
        """All scans."""
        with self._mutex:
            return [self._now(info) for info in self._state.infos()]

    def info(self, scan_id: str) -> ScanInfo:
        """One of them."""
        with self._mutex:
            return self._now(self._state.find(scan_id))

    def _now(self, info: ScanInfo) -> ScanInfo:
        job = self._job
        return job.info() if job is not None and job.queued.info.id == info.id and info.ended is None else info

    def outcome(self, scan_id: str) -> QMI_RpcFuture[ScanInfo]:
        """How a scan has ended, when it has."""
        future: QMI_RpcFuture[ScanInfo] = QMI_RpcFuture(f"the end of scan {scan_id}")
        with self._mutex:
            info = self._state.find(scan_id)
            if info.ended is not None:
                future.set_result(info)
            elif self._closed:
                future.fail(self._stopped())
            else:
                waiters = self._waiters.setdefault(scan_id, [])
                waiters.append(future)
                future.on_cancel = lambda: self._forget(waiters, future)
        return future

    def _forget(self, waiters: list[QMI_RpcFuture[ScanInfo]], future: QMI_RpcFuture[ScanInfo]) -> None:
        with self._mutex, suppress(ValueError):
            waiters.remove(future)

    def _stopped(self) -> QMI_InvalidOperationException:
        return QMI_InvalidOperationException(
            f"Queue {self.address} was stopped; what waits goes on when it starts again"
        )

    def pause_reason(self) -> str | None:
        """Why no scan is begun."""
        return self._state.paused

    def pause_queue(self, reason: str | None) -> None:
        """Begin no other scan for a reason, or go on."""
        with self._mutex:
            self._state.paused = reason
            self._wake()

    def remove(self, scan_id: str, who: Caller) -> None:
        """Remove one that waits."""
        with self._mutex:
            info = self._state.remove(scan_id, f"by {who}", time.time())
        self._ended(info)

    def move(self, scan_id: str, position: int, who: Caller) -> None:
        """Have one that waits carried out earlier or later."""
        with self._mutex:
            self._state.move(scan_id, position)
        _logger.info("Scan %s is moved to place %d of those that wait by %s", scan_id, position, who)

    def end(self, scan_id: str, ask: Callable[[Scan], None], what: str, who: Caller) -> None:
        """End the one that runs, or remove one that waits."""
        with self._mutex:
            waits = any(queued.info.id == scan_id for queued in self._state.waiting)
            if waits:
                self.remove(scan_id, who)
                return
        self.steer(scan_id, ask, what, who, ends=True)

    def steer(self, scan_id: str, ask: Callable[[Scan], None], what: str, who: Caller, *, ends: bool = False) -> None:
        """Ask something of the one that runs."""
        with self._mutex:
            info, job = self._state.find(scan_id), self._job
            if job is None or job.queued.info.id != scan_id:
                raise QMI_InvalidOperationException(f"Scan {scan_id} does not run: it is {info.state}")
            _logger.log(who.level, "Scan %s is %s by %s", scan_id, what, who)
            if ends:
                job.ends = what
            scan, locking = job.scan, job.locking
            if scan is None:
                job.asked.append(ask)
        if scan is not None:
            ask(scan)
        if ends and locking is not None:
            locking.cancel()

    def time_to_end(self) -> float:
        """How long the end of the scan that runs may take, in seconds."""
        job = self._job
        return 0.0 if job is None or job.scan is None else job.scan.time_to_end()

    def _wake(self) -> None:
        self._next.set_result(None)

    def _tell(self, info: ScanInfo) -> None:
        self.sig_changed.publish(info.id, info.state)

    def _ended(self, info: ScanInfo) -> None:
        with self._mutex:
            waiters = self._waiters.pop(info.id, [])
        for waiter in waiters:
            waiter.set_result(info)
        _logger.info(
            "Scan %s of queue %s is %s%s", info.id, self.address, info.state, f": {info.reason}" * bool(info.reason)
        )
        self._tell(info)

    # The task itself, in its thread

    def run(self) -> None:
        """Carry out one scan after the other."""
        try:
            while not self.stop_requested():
                queued = self._take()
                if queued is not None:
                    self._carry_out(queued)
                else:
                    self._next.wait()
        except QMI_TaskStopException:  # it was asked to stop while it waited, and has nothing to do at its end
            pass
        finally:
            self.close()

    def close(self) -> None:
        """The queue carries out nothing any more: others may have its file, and nobody waits for its scans."""
        with self._mutex:
            self._closed = True
            self._free_file()
            waiters = [waiter for each in self._waiters.values() for waiter in each]
            self._waiters.clear()
        for waiter in waiters:
            waiter.fail(self._stopped())

    def _take(self) -> Queued | None:
        with self._mutex:
            # Whoever changes something wakes by the future that was there then: what comes after this look finds the
            # new one, and what came before is seen by it.
            self._next = QMI_RpcFuture("the next scan")
            queued = self._state.take(time.time())
            if queued is None:
                return None
            self._job = _Job(queued)
        self.save()
        return queued

    def _carry_out(self, queued: Queued) -> None:
        job = self._job
        assert job is not None
        info = queued.info
        _logger.info("Scan %s of queue %s begins: %s, for %s", info.id, self.address, info.what, _who(info))
        self._tell(info)
        state, reason = "failed", ""
        try:
            state = self._scan(job)
        except QMI_TaskStopException:
            state, reason = "interrupted", "the queue was stopped while it ran"
        except BaseException as error:  # of the user's instruments and functions; the queue goes on
            state = job.ends if job.ends and isinstance(error, QMI_CancelledCallException) else "failed"
            reason = "" if state != "failed" else printable(f"{type(error).__name__}: {error}")[:_LONGEST_TEXT]
            if state == "failed":
                _logger.error("Scan %s of queue %s failed", info.id, self.address, exc_info=error)
        finally:
            job.reason = ""
            ended = job.info()._replace(state=state, reason=reason, ended=time.time())
            with self._mutex:
                self._job = None
                self._state.end(ended)
                if state == "failed" and self._on_error == "pause":
                    self._state.paused = f"scan {info.id} failed: {reason}"
                    _logger.error("Queue %s is paused, since scan %s failed", self.address, info.id)
            self.save()
            self._ended(ended)

    def _scan(self, job: _Job) -> str:
        """Carry out a scan; returns how it has ended."""
        payload, segments = cbor2.loads(job.queued.data)
        description = description_of(_CODEC.decode(payload, segments))
        functions = load_functions(description, self.modules)
        proxies = {address: self._proxy(address) for address in description.addresses()}
        info = job.queued.info
        with self._locked(job, proxies):
            made = self._make(job, description, proxies, functions)
            with labelled(Label(info.id, info.submitted or 0.0, info.user, info.program, info.host)):
                noted = False
                for _ in made:
                    if not noted and made.summary[2]:
                        noted = True  # the run has an id now: who finds the scan after a crash finds its data, too
                        with self._mutex:
                            self._state.note(job.queued.info._replace(run_id=made.summary[2]))
                        self.save()
        assert made.outcome is not None
        return made.outcome

    def _make(self, job: _Job, description: Description, proxies: dict[str, Any], functions: Functions) -> Scan:
        info = job.queued.info
        made = build(description, proxies, functions)
        words = {"id": info.id, "queue": self.address, "user": info.user, "program": info.program, "host": info.host}
        if description.run_name:
            made.annotate(metadata={"scan": words})
        with self._mutex:  # what is asked for from now on, is asked of the scan
            job.scan = made
            asked, job.asked = job.asked, []
        for ask in asked:
            ask(made)
        return made

    def _proxy(self, address: str) -> Any:
        core = self._context.async_context
        _check_usable(core, address)
        return self._context.get_rpc_object(address)

    # Locks

    @contextmanager
    def _locked(self, job: _Job, proxies: dict[str, Any]) -> Iterator[None]:
        """Wait until nobody else has locked the instruments; with ``reserve``, lock them until the end of the block."""
        info = job.queued.info
        reason = f"scan {info.id}" + (f" for {_who(info)}" if _who(info) else "")
        wait: QMI_RpcFuture[object] = self._context.async_context.run(self._wait_for_locks, job, proxies, reason)
        try:
            with self._mutex:
                job.locking = wait
                ends = bool(job.ends)
            if ends:
                wait.cancel()
            wait.wait()
            job.locking, job.reason = None, ""
            yield
        finally:
            wait.cancel()
            if self._reserve:
                for proxy in proxies.values():
                    with suppress(QMI_Exception):  # it is gone, and its lock with it
                        proxy.unlock()

    async def _wait_for_locks(self, job: _Job, proxies: dict[str, Any], reason: str) -> None:
        # In the order of the addresses, as all queues do it: two of them cannot wait for each other.
        for address in sorted(proxies):
            proxy = proxies[address].rpc_async
            holder: LockInfo | None = await proxy.lock_info()
            if holder is None and not self._reserve:
                continue
            if holder is not None:
                job.reason = f"{address} is locked by {holder.describe()}"
                self._tell(job.info())
            limit = float("inf") if self._lock_timeout is None else self._lock_timeout
            with trio.move_on_after(limit):
                await proxy.lock(None, reason=reason)
                job.reason = ""
                if not self._reserve:
                    await proxy.unlock()
                continue
            raise QMI_UsageException(f"{job.reason or address}, and was not free within {self._lock_timeout} s")


def _who(info: ScanInfo) -> str:
    return LockInfo("", "", 0.0, "", info.user, info.program, info.host).who()


for _public in (ScanQueue, ScanQueueRunner):
    _public.__module__ = "qmi.scan"
