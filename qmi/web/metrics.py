"""What contexts tell of themselves as metrics, in the text format of Prometheus. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from qmi.actors.context_status import ContextStatus, LinkStatus, ObjectStatus, TaskStatus
from qmi.presenting.seen import ENDING, RUNNING, Seen

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One value of a metric.

    Attributes:
        name: The metric.
        labels: What it is of.
        value: The value.
    """

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Metric(NamedTuple):
    """What is said of a metric: whether it is a counter, and what it tells."""

    kind: str
    about: str


METRICS: dict[str, Metric] = {
    "qmi_context_up": Metric("gauge", "Whether the context answers"),
    "qmi_context_start_time_seconds": Metric("gauge", "When the context was started, in seconds since 1970"),
    "qmi_context_round_trip_seconds": Metric("gauge", "How long the context took to tell its status"),
    "qmi_context_log_warnings_total": Metric("counter", "Warnings in its log"),
    "qmi_context_log_errors_total": Metric("counter", "Errors in its log"),
    "qmi_context_cpu_seconds_total": Metric("counter", "Time of the processor that its program has used"),
    "qmi_context_memory_bytes": Metric("gauge", "Memory of its program"),
    "qmi_context_threads": Metric("gauge", "Threads of its program"),
    "qmi_signals_published_total": Metric("counter", "Signals that were published"),
    "qmi_signals_dropped_total": Metric("counter", "Signals that were left out on links that were too slow"),
    "qmi_signals_receiver_dropped_total": Metric("counter", "Signals that full receivers have dropped"),
    "qmi_object_failed": Metric("gauge", "Whether the object has failed"),
    "qmi_object_locked": Metric("gauge", "Whether somebody has locked the object"),
    "qmi_object_queue": Metric("gauge", "Calls that wait for the object"),
    "qmi_object_calls_total": Metric("counter", "Calls that the object has carried out"),
    "qmi_object_errors_total": Metric("counter", "Calls that have raised an error"),
    "qmi_task_running": Metric("gauge", "Whether the task runs"),
    "qmi_task_restarts_total": Metric("counter", "How often the task was started again after a failure"),
    "qmi_task_iterations_total": Metric("counter", "Iterations of the loop of the task"),
    "qmi_task_missed_total": Metric("counter", "Periods that the loop of the task has missed"),
    "qmi_task_lateness_median_seconds": Metric("gauge", "How late the loop of the task usually is"),
    "qmi_task_lateness_worst_seconds": Metric("gauge", "How late the loop of the task was at most"),
    "qmi_link_up": Metric("gauge", "Whether the link to another context is there"),
    "qmi_link_round_trip_seconds": Metric("gauge", "How long a message and its answer take on the link"),
    "qmi_link_open_requests": Metric("gauge", "Requests on the link that have no answer yet"),
    "qmi_link_dropped_signals_total": Metric("counter", "Signals that were left out on this link"),
    "qmi_link_sent_bytes_total": Metric("counter", "Bytes that were sent"),
    "qmi_link_received_bytes_total": Metric("counter", "Bytes that were received"),
    "qmi_web_browsers": Metric("gauge", "Browsers that get pushes"),
    "qmi_web_topics": Metric("gauge", "Topics that browsers get"),
}


def text_of(found: Iterable[Seen], *, browsers: int = 0, topics: int = 0) -> str:
    """The metrics of contexts.

    Args:
        found: The contexts.
        browsers: How many browsers get pushes.
        topics: Of how many topics.
    """
    by_name: dict[str, list[Sample]] = {}
    for sample in (*_all(found), Sample("qmi_web_browsers", (), browsers), Sample("qmi_web_topics", (), topics)):
        by_name.setdefault(sample.name, []).append(sample)
    lines: list[str] = []
    for name, metric in METRICS.items():
        if name in by_name:
            lines += [f"# HELP {name} {metric.about}", f"# TYPE {name} {metric.kind}", *map(_line, by_name[name])]
    return "\n".join(lines) + "\n"


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
    return f"{sample.name}{{{labels}}} {float(sample.value)!r}" if labels else f"{sample.name} {float(sample.value)!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _all(found: Iterable[Seen]) -> Iterator[Sample]:
    seen_names: set[str] = set()
    for seen in found:
        if seen.name in seen_names:  # two of one name have no names of their own
            continue
        seen_names.add(seen.name)
        labels = (("context", seen.name),)
        is_up = seen.state in (RUNNING, ENDING) and seen.status is not None
        yield Sample("qmi_context_up", labels, is_up)
        if seen.round_trip is not None:
            yield Sample("qmi_context_round_trip_seconds", labels, seen.round_trip)
        if is_up and seen.status is not None:
            yield from _context(seen.status, labels)


def _context(status: ContextStatus, labels: tuple[tuple[str, str], ...]) -> Iterator[Sample]:
    for name, value in {
        "qmi_context_start_time_seconds": status.started,
        "qmi_context_log_warnings_total": status.log.warnings,
        "qmi_context_log_errors_total": status.log.errors,
        "qmi_context_cpu_seconds_total": status.process.cpu,
        "qmi_context_memory_bytes": status.process.memory,
        "qmi_context_threads": status.process.threads,
        "qmi_signals_published_total": status.signals.published,
        "qmi_signals_dropped_total": status.signals.dropped,
        "qmi_signals_receiver_dropped_total": status.signals.receivers_dropped,
    }.items():
        if value >= 0:  # what the system does not tell is negative
            yield Sample(name, labels, value)
    for entry in status.objects:
        yield from _object(entry, (*labels, ("object", entry.name)))
    for link in status.links:
        yield from _link(link, (*labels, ("peer", link.context or link.name)))


def _object(entry: ObjectStatus, labels: tuple[tuple[str, str], ...]) -> Iterator[Sample]:
    yield Sample("qmi_object_failed", labels, entry.state == "failed")
    yield Sample("qmi_object_locked", labels, entry.lock is not None)
    yield Sample("qmi_object_queue", labels, entry.queue)
    yield Sample("qmi_object_calls_total", labels, entry.calls)
    yield Sample("qmi_object_errors_total", labels, entry.errors)
    if entry.task is not None:
        yield from _task(entry.task, labels)


def _task(task: TaskStatus, labels: tuple[tuple[str, str], ...]) -> Iterator[Sample]:
    yield Sample("qmi_task_running", labels, task.state == "running")
    yield Sample("qmi_task_restarts_total", labels, task.restarts)
    if task.period > 0:
        yield Sample("qmi_task_iterations_total", labels, task.iterations)
        yield Sample("qmi_task_missed_total", labels, task.missed)
        yield Sample("qmi_task_lateness_median_seconds", labels, task.lateness_median)
        yield Sample("qmi_task_lateness_worst_seconds", labels, task.lateness_worst)


def _link(link: LinkStatus, labels: tuple[tuple[str, str], ...]) -> Iterator[Sample]:
    yield Sample("qmi_link_up", labels, link.state == "up")
    yield Sample("qmi_link_open_requests", labels, link.open_requests)
    yield Sample("qmi_link_dropped_signals_total", labels, link.dropped_signals)
    for name, value in {
        "qmi_link_round_trip_seconds": link.round_trip,
        "qmi_link_sent_bytes_total": link.bytes_sent,
        "qmi_link_received_bytes_total": link.bytes_received,
    }.items():
        if value >= 0:
            yield Sample(name, labels, value)
