"""What a context tells of itself in one answer.

All of it is read from what is there anyway, by whoever asks, in any thread: no method of an object runs, no turn is
taken, no mutex is held for longer than it takes to copy a list. So an object that is stuck is told like any other.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Protocol

from qmi._version import __version__
from qmi.actors.actor import Actor
from qmi.actors.context_object import ConfiguredObject
from qmi.actors.context_status import (
    BusyStatus,
    ContextStatus,
    LockStatus,
    LogTotals,
    ObjectStatus,
    PagesStatus,
    ProcessStatus,
    SignalStatus,
    SignalTotals,
)
from qmi.actors.instrument import QMI_Instrument
from qmi.actors.presentation import SIMULATED_DOC
from qmi.actors.pubsub.broker import Broker
from qmi.actors.registry import Registry
from qmi.actors.tasks.runner import QMI_TaskRunner
from qmi.config.schema import CfgQmi
from qmi.config.validators import printable_lines
from qmi.contexts.configured import ConfiguredObjects
from qmi.messages import Origin
from qmi.net.io.fan_out import Publication
from qmi.net.protocol.bounds import describe_error
from qmi.peers.connections import Connections
from qmi.runtime.identity import own_identity
from qmi.runtime.log_ring import LOG_RING


class StatusServices(Protocol):
    """What this needs of the context."""

    name: str
    config: CfgQmi
    origin: Origin
    started: float
    registry: Registry
    broker: Broker[Publication]
    connections: Connections
    configured_objects: ConfiguredObjects
    pages: PagesStatus | None

    def shutdown_requested(self) -> bool:
        """Whether somebody asked this program to end."""


def context_status(services: StatusServices) -> ContextStatus:
    """What a context tells of itself. From any thread; waits for nothing.

    Args:
        services: The context.
    """
    identity, connections, config = own_identity(), services.connections, services.config
    signals = _signals_of(services.broker)
    published = sum(signal.published for found in signals.values() for signal in found)
    totals = SignalTotals(published, connections.dropped_signals, services.broker.receivers_dropped())
    return ContextStatus(
        name=services.name,
        version=__version__,
        incarnation=services.origin.incarnation,
        host=identity.host,
        pid=os.getpid(),
        python=platform.python_version(),
        platform=_platform(),
        user=identity.user,
        program=identity.program,
        started=services.started,
        now=time.time(),
        workgroup=config.workgroup,
        address=connections.own_address,
        tls=config.security.enabled,
        config_file=config.config_file or "",
        stopping=services.shutdown_requested(),
        objects=tuple(_objects(services.registry, services.configured_objects.states(), signals)),
        links=tuple(connections.link_statuses()),
        signals=totals,
        failures=connections.failures.counts(),
        process=_process(),
        log=LogTotals(LOG_RING.total(logging.WARNING, logging.ERROR), LOG_RING.total(logging.ERROR)),
        pages=services.pages,
    )


@cache
def _platform() -> str:
    return " ".join(part for part in (platform.system(), platform.release(), platform.machine()) if part)


def _process() -> ProcessStatus:
    threads = threading.active_count()
    largest = -1
    if sys.platform != "win32":
        import resource

        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return ProcessStatus(time.process_time(), largest, threads)


def _signals_of(broker: Broker[Publication]) -> Mapping[str, tuple[SignalStatus, ...]]:
    found: dict[str, tuple[SignalStatus, ...]] = {}
    for topic, published, receivers, peers in broker.counts():
        status = SignalStatus(topic.signal, published, receivers, peers)
        found[topic.object] = (*found.get(topic.object, ()), status)
    return found


def _objects(
    registry: Registry, configured: list[ConfiguredObject], signals: Mapping[str, tuple[SignalStatus, ...]]
) -> Iterable[ObjectStatus]:
    listed = {entry.name: entry for entry in configured}
    for actor in registry:
        name = actor.address.object
        if name.startswith("$"):  # of the context itself
            listed.pop(name, None)
            continue
        try:
            status = object_status(actor, signals.get(name, ()))
        except Exception as error:  # noqa: BLE001 - of a class that is built in an odd way; the others are told all the same
            category = actor.interface.category
            status = ObjectStatus(name=name, category=category, state="unknown", why=describe_error(error))
        yield _with_configured(status, listed.pop(name, None))
    for entry in listed.values():  # those that are not there
        yield ObjectStatus(
            name=entry.name, category=entry.category, class_name=entry.class_name, state=entry.state, configured=True,
            why=printable_lines(entry.reason),
        )  # fmt: skip


def _with_configured(status: ObjectStatus, entry: ConfiguredObject | None) -> ObjectStatus:
    if entry is None:
        return status
    if entry.state in ("ready", "removed"):  # removed: another one of this name is there
        return replace(status, configured=True)
    # It is there, and has not been opened, or its task has failed.
    return replace(status, configured=True, state=entry.state, why=printable_lines(entry.reason) or status.why)


def object_status(actor: Actor, signals: tuple[SignalStatus, ...] = ()) -> ObjectStatus:
    """What there is to say of one object. From any thread; waits for nothing, and calls nothing of the object.

    Args:
        actor: Its actor.
        signals: Its signals.
    """
    interface, target = actor.interface, actor.object
    class_name, state, why, task = interface.class_name, "ready", "", None
    if isinstance(target, QMI_TaskRunner):
        class_name, task = target.task_class_name, target.task_report
        state, why = task.state, task.failure if task.state in ("failed", "restarting") else ""
    elif isinstance(target, QMI_Instrument):
        state = _open_or_not(target)
    if actor.mailbox.closed is not None or target is None:
        state = "ending"
    return ObjectStatus(
        name=actor.address.object,
        category=interface.category,
        class_name=class_name,
        state=state,
        why=printable_lines(why),
        lock=_lock(actor),
        busy=_busy(actor),
        queue=len(actor.mailbox),
        calls=actor.calls,
        errors=actor.errors,
        last_error=actor.last_error,
        simulated=interface.doc.endswith(SIMULATED_DOC),
        task=task,
        signals=signals,
    )


def _open_or_not(instrument: QMI_Instrument) -> str:
    # As the base class has noted it: a driver's own is_open() may ask the device, and is not called.
    if vars(instrument).get("_is_open"):
        return "open"
    return "closed" if type(instrument).is_open is QMI_Instrument.is_open else "unknown"


def _lock(actor: Actor) -> LockStatus | None:
    info = actor.lock_manager.info()
    if info is None:
        return None
    return LockStatus(info.context, info.label, info.since, info.reason, info.user, info.program, info.host)


def _busy(actor: Actor) -> BusyStatus | None:
    turn = actor.mailbox.current
    if turn is None or not (since := turn.since):
        return None
    where = "" if actor.worker is None else actor.worker.where()
    return BusyStatus(turn.text, turn.origin.context, time.time() - (time.monotonic() - since), where)
