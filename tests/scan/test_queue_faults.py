"""A queue goes on whatever scans, their descriptions and its file are."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest

import qmi
import qmi.data
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_CancelledCallException,
    QMI_InvalidValueException,
    QMI_TaskInitException,
    QMI_UsageException,
)
from qmi.scan import ScanQueue, scan
from qmi.scan.description import description_of
from tests.support.scan_functions import HOOKS, SET_TO, get_power, set_position
from tests.support.scan_queues import client_of, measured, psu, queue, running_lab


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    SET_TO.clear()
    HOOKS.clear()


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    with running_lab() as lab, client_of(lab):
        yield lab


def hook(error: BaseException) -> Any:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), QMI_CancelledCallException("gone"), MemoryError()]
)
def test_queue_goes_on_after_a_scan_that_raises_anything(lab: QMI_Context, error: BaseException) -> None:
    HOOKS["get_power"] = hook(error)
    info = measured().submit("lab.scans").wait()
    assert (info.state, info.reason) == ("failed", f"{type(error).__name__}: {error}")
    HOOKS.clear()
    assert measured().submit("lab.scans").wait().state == "done"


def test_reason_of_a_failure_is_short_and_printable(lab: QMI_Context) -> None:
    HOOKS["get_power"] = hook(ValueError("\x1b[2J" + "x" * 100_000))
    reason = measured().submit("lab.scans").wait().reason
    assert reason.isprintable()
    assert len(reason) == 2000


def test_metadata_of_a_scan_are_those_of_its_run(lab: QMI_Context) -> None:
    made = measured(1, run="iv").annotate(metadata={"sample": {"name": "A12", "sizes": [1, 2]}})
    info = made.submit("lab.scans").wait()
    text = str(qmi.data.load(info.run_id).attrs)
    assert all(part in text for part in ("A12", "sizes", "lab.scans"))


def description(**changes: object) -> dict[str, object]:
    made = scan(set_position, [1, 2]).measure(get_power).finally_set(psu().parameters.maximum, 0)
    return {**made.describe().plain(), **changes}


@pytest.mark.parametrize("length", [7, 10**40, -1, None, "many"])
def test_number_of_points_is_not_what_somebody_says(lab: QMI_Context, length: object) -> None:
    scan_id = queue().submit(description(length=length), "lab")
    info = queue().get_outcome(scan_id)
    assert (info.length, info.points) == (2, 2)
    assert "2 points" in info.what


def test_comment_in_the_list_is_printable(lab: QMI_Context) -> None:
    scan_id = queue().submit(description(comment="\x1b[2J" + "x" * 10_000), "lab")
    comment = queue().get_outcome(scan_id).comment
    assert comment.isprintable()
    assert len(comment) < 2100


@pytest.mark.parametrize("name", ["lock", "unlock", "force_unlock", "is_locked", "lock_info", "request_release"])
def test_scan_of_a_queue_calls_published_methods_only(lab: QMI_Context, name: str) -> None:
    what = ["x", "", ["method", "lab.psu", name]]
    with pytest.raises(QMI_UsageException, match=r"lab\.psu has no method|no parameter or published method"):
        queue().submit(description(readables=[what]), "lab")


def test_lock_is_not_measured_elsewhere(lab: QMI_Context) -> None:
    with pytest.raises(QMI_UsageException, match=r"lock, which is measured, is lock\(\) of .*no published method"):
        scan(set_position, [1]).measure(psu().lock).describe()


@pytest.mark.parametrize("where", ["lab.$context", "lab.$scans", "lab.$runs"])
def test_scan_of_a_queue_uses_no_part_of_a_context(lab: QMI_Context, where: str) -> None:
    what = ["x", "", ["method", where, "get_name"]]
    with pytest.raises(QMI_UsageException, match=r"is part of a context"):
        queue().submit(description(readables=[what]), "lab")


@pytest.mark.parametrize("metadata", [5, [], "x", {1: 2}])
def test_metadata_that_are_none_are_refused(metadata: object) -> None:
    plain = scan(set_position, [1]).describe().plain()
    with pytest.raises(QMI_InvalidValueException, match="metadata"):
        description_of({**plain, "metadata": metadata})
    del plain["metadata"]  # as an older version sends it
    assert description_of(plain).metadata == {}


def test_values_are_not_taken_for_addresses() -> None:
    value = ["parameter", "client.psu", "maximum"]
    made = scan(set_position, [1]).finally_set(set_position, value).describe()
    (part,) = made.moved("client", "lab").ending
    assert part.value == value


# -- The file


def damaged(content: bytes, seed: int) -> bytes:
    chance = random.Random(seed)
    found = bytearray(content)
    for _ in range(chance.randrange(1, 6)):
        found[chance.randrange(len(found))] = chance.randrange(256)
    return bytes(found[: chance.choice([len(found), chance.randrange(1, len(found) + 1)])])


def test_queue_begins_whatever_is_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "scans.queue"
    with running_lab(start=False, file=file) as owner:
        for _ in range(3):
            measured().submit(owner.get_task("scans"))
        good = file.read_bytes()
    for seed in range(150):
        file.write_bytes(damaged(good, seed))
        found = ScanQueue._read.__get__(_Reader(file))()
        assert len(list(found.infos())) <= 3
        cbor2.dumps(found.plain())


class _Reader:
    """What a queue needs to read its file."""

    _name = "scans"
    address = "lab.scans"

    def __init__(self, path: Path) -> None:
        self._path = path

    def _unusable(self, error: OSError) -> BaseException:
        return error


@pytest.mark.parametrize("what", ["folder", "unreadable"])
def test_queue_says_that_its_file_cannot_be_read(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "scans.queue"
    if what == "folder":
        file.mkdir()
    else:
        file.write_bytes(b"damaged")
        monkeypatch.setattr(os, "replace", hook(PermissionError(13, "Permission denied")))
    with (
        pytest.raises(QMI_TaskInitException, match=r"cannot be kept in .*scans.queue: .*file that can be read and"),
        running_lab(start=False, file=file),
    ):
        pass
