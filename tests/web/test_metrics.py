from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from qmi.actors.context_status import ContextStatus, LinkStatus, LockStatus, ObjectStatus, TaskStatus
from qmi.presenting.seen import NOT_RUNNING, RUNNING, Seen
from qmi.web.metrics import METRICS, text_of
from tests.support.web import Web


def parsed(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """The samples: name and labels to value; each is there once."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def test_metrics_are_those_of_the_status() -> None:
    psu = ObjectStatus(name="psu", state="failed", queue=2, calls=7, errors=3, lock=LockStatus(holder="a"))
    task = TaskStatus(state="running", restarts=1, period=0.1, iterations=50, missed=4, lateness_worst=0.25)
    reg = ObjectStatus(name="reg", task=task)
    link = LinkStatus(context="cell", state="lost", bytes_sent=-1, bytes_received=12, round_trip=-1.0)
    status = ContextStatus(name="lab", started=5.0, objects=(psu, reg), links=(link,))
    found = parsed(text_of([Seen("lab", state=RUNNING, status=status), Seen("other", state=NOT_RUNNING)], browsers=3))
    assert found["qmi_context_up", ("lab",)] == 1
    assert found["qmi_context_up", ("other",)] == 0
    assert found["qmi_object_failed", ("lab", "psu")] == 1
    assert found["qmi_object_locked", ("lab", "psu")] == 1
    assert found["qmi_object_calls_total", ("lab", "psu")] == 7
    assert found["qmi_task_missed_total", ("lab", "reg")] == 4
    assert found["qmi_task_lateness_worst_seconds", ("lab", "reg")] == 0.25
    assert found["qmi_link_up", ("lab", "cell")] == 0
    assert found["qmi_link_received_bytes_total", ("lab", "cell")] == 12
    assert ("qmi_link_sent_bytes_total", ("lab", "cell")) not in found
    assert found["qmi_web_browsers", ()] == 3


def test_names_of_others_cannot_break_a_line() -> None:
    status = ContextStatus(objects=(ObjectStatus(name='a"} 1\nqmi_context_up{x="\\'),))
    assert parsed(text_of([Seen("lab", status=status)]))["qmi_object_calls_total", ("lab", status.objects[0].name)] == 0


def test_contexts_of_one_name_are_told_once() -> None:
    assert parsed(text_of([Seen("lab"), Seen("lab")]))["qmi_context_up", ("lab",)] == 0


def test_counters_are_called_total() -> None:
    assert all((metric.kind == "counter") == name.endswith("_total") for name, metric in METRICS.items())


async def test_metrics_are_served(web: Web) -> None:
    answer = await web.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert parsed(answer.text)["qmi_context_up", ("lab",)] == 1


def test_expressions_of_the_documentation_name_metrics_that_there_are() -> None:
    text = (Path(__file__).parents[2] / "docs" / "do" / "web-api.md").read_text("utf-8")
    assert set(re.findall(r"\bqmi_(?!web\b)\w+", text)) <= set(METRICS)
