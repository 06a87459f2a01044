"""Runs where the clock or the time zone changes, and in folders that cannot be written."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy
import pytest

import qmi.data
from qmi.core.exceptions import QMI_RecordingException, QMI_UnknownNameException

NOBODY = 65534
AMSTERDAM = "CET-1CEST,M3.5.0,M10.5.0/3"
"""As the rules of Europe are, for systems that have no list of time zones."""

with_zones = pytest.mark.skipif(not hasattr(time, "tzset"), reason="no time zones to be set here")
with_permissions = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no permissions as POSIX has them")


class Clocks:
    """The clock of the computer and the one that only counts, as a test sets them."""

    def __init__(self, now: str) -> None:
        self.utc = int(datetime.fromisoformat(now).timestamp()) * 10**9
        self.counted = 10**12

    def go_on(self, seconds: float) -> None:
        self.utc += int(seconds * 10**9)
        self.counted += int(seconds * 10**9)

    def set_by(self, seconds: float) -> None:
        """Somebody sets the clock of the computer."""
        self.utc += int(seconds * 10**9)


@contextmanager
def clocks_at(now: str) -> Iterator[Clocks]:
    clocks = Clocks(now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: clocks.utc)
        patch.setattr(time, "monotonic_ns", lambda: clocks.counted)
        yield clocks


@contextmanager
def zone(*names: str) -> Iterator[Any]:
    """The time zone of the program; each ``next()`` is the next one."""
    patch = pytest.MonkeyPatch()

    def each() -> Iterator[str]:
        for name in names:
            patch.setenv("TZ", name)
            time.tzset()
            yield name

    zones = each()
    next(zones)
    try:
        yield zones
    finally:
        patch.undo()
        time.tzset()


# -- time zones


@with_zones
@pytest.mark.parametrize(
    ("now", "local"),
    [
        ("2026-03-29T00:59:59+00:00", ["01:59:59", "03:00:01"]),  # summer time begins
        ("2026-10-25T00:59:59+00:00", ["02:59:59", "02:00:01"]),  # and ends: this hour comes twice
    ],
)
def test_run_over_a_change_to_or_from_summer_time_has_times_in_utc(folder: Path, now: str, local: list[str]) -> None:
    with zone(AMSTERDAM), clocks_at(now) as clocks:
        seen = []
        with qmi.data.run("run", ["T", "when"], folder=folder) as run:
            for _ in range(2):
                here = datetime.fromtimestamp(clocks.utc / 1e9)  # as datetime.now(): without a time zone
                seen.append(f"{here:%H:%M:%S}")
                run.add(T=1, when=here)
                clocks.go_on(2)
        assert seen == local
        data = qmi.data.load(run.run_id, folder=folder)
        assert [info.run_id for info in qmi.data.runs(since=now, folder=folder)] == [run.run_id]
        later = datetime.fromisoformat(now) + timedelta(seconds=1)
        assert qmi.data.runs(since=later, folder=folder) == []
    start = numpy.datetime64(now[:19], "ns")
    for times in (data.time.values, data.when.values):
        assert (times - start).tolist() == [0, 2 * 10**9]
    assert (data.attrs["started"], data.attrs["ended"][:19]) == (f"{now[:19]}+00:00", str(start + 4 * 10**9)[:19])
    assert run.run_id == f"{now[:19].replace('-', '').replace(':', '').replace('T', '-')}_run"


@with_zones
def test_time_zone_may_change_while_a_run_lasts(folder: Path) -> None:
    with (
        zone("UTC", "EST5EDT", "IST-5:30") as zones,
        clocks_at("2026-11-26T12:00:00+00:00") as clocks,
        qmi.data.run("run", ["when"], folder=folder) as run,
    ):
        run.add(when=datetime.fromtimestamp(clocks.utc / 1e9))
        for _ in zones:
            clocks.go_on(1)
            run.add(when=datetime.fromtimestamp(clocks.utc / 1e9))
    data = qmi.data.load("run", folder=folder)
    for times in (data.time.values, data.when.values):
        assert (times - numpy.datetime64("2026-11-26T12:00:00", "ns")).tolist() == [0, 10**9, 2 * 10**9]
    assert json.loads(data.attrs["qmi_metadata"])["timezone"] == {"name": "UTC", "utc_offset": 0}


@with_zones
@pytest.mark.parametrize("name", ["UTC", AMSTERDAM, "NZST-12NZDT,M9.5.0,M4.1.0/3"])
def test_runs_are_found_by_local_times(folder: Path, name: str) -> None:
    with zone(name), clocks_at("2026-10-25T12:00:00+00:00") as clocks:
        for _ in range(3):
            with qmi.data.run("run", ["T"], folder=folder):
                pass
            clocks.go_on(3600)
        first, second, third = qmi.data.runs(folder=folder)
        here = datetime.fromtimestamp(clocks.utc / 1e9) - timedelta(hours=2, minutes=30)
        assert qmi.data.runs(since=here, folder=folder) == [second, third]
        assert qmi.data.runs(since=f"{here:%Y-%m-%d %H:%M}", folder=folder) == [second, third]
        assert qmi.data.runs(until=here.astimezone(UTC), folder=folder) == [first]
        assert qmi.data.runs(since="2026-10-25T15:00+02:00", until="2026-10-25T09:59-05:00", folder=folder) == [
            second,
            third,
        ]


def test_files_say_that_their_times_are_utc(folder: Path) -> None:
    with qmi.data.run("run", ["T", "when"], folder=folder) as run:
        run.add(T=1, when=datetime.now(UTC))
    with h5py.File(run.file) as file:
        for name in ("time", "when"):
            assert file[name].attrs["units"] == "nanoseconds since 1970-01-01"
            assert file[name].attrs["time_zone"] == "UTC"
    assert run.info is not None
    assert (run.info.started.tzinfo, qmi.data.runs(folder=folder)[0].started.tzinfo) == (UTC, UTC)


# -- clocks


@pytest.mark.parametrize("jumps", [[-3600, 0, 3600], [7200, -7200], [-86400 * 365], [86400 * 365], [0.5, -0.5]])
def test_rows_stay_in_order_whatever_the_clock_does(folder: Path, jumps: list[float]) -> None:
    with clocks_at("2026-11-26T12:00:00+00:00") as clocks:
        with qmi.data.run("run", ["T"], folder=folder) as run:
            for number, jump in enumerate(jumps):
                run.add(T=number)
                clocks.set_by(jump)
                clocks.go_on(1)
            run.add(T=len(jumps))
        data = qmi.data.load(run.run_id, folder=folder)
        assert qmi.data.runs(since="2026-11-26T12:00:00+00:00", folder=folder) == [run.info]
    steps = numpy.diff(data.time.values) / numpy.timedelta64(1, "s")
    assert steps.tolist() == [1.0] * len(jumps)
    assert data.T.values.tolist() == [*range(len(jumps) + 1)]
    noted = json.loads(data.attrs["qmi_metadata"])["end"]["clock_jump"]
    assert noted == (sum(jumps) if abs(sum(jumps)) > 1 else 0.0)


@pytest.mark.parametrize("jump", [-1, -3600, 0])
def test_run_that_begins_after_the_clock_was_set_back_has_an_id_of_its_own(folder: Path, jump: int) -> None:
    with clocks_at("2026-11-26T12:00:00+00:00") as clocks:
        ids = []
        for _ in range(3):
            with qmi.data.run("run", ["T"], folder=folder) as run:
                run.add(T=1)
                clocks.go_on(-jump)
            ids.append(run.run_id)
            clocks.set_by(jump)
        assert len(set(ids)) == 3
        assert sorted(info.run_id for info in qmi.data.runs(folder=folder)) == sorted(ids)
        assert sorted(path.stem for path in folder.glob("*/*.nc")) == sorted(ids)


def test_runs_are_found_by_how_long_ago_they_began(folder: Path) -> None:
    # How long ago is by the clock of now: one that was set on by an hour makes all of them an hour older.
    with qmi.data.run("run", ["T"], folder=folder) as run:
        pass
    assert qmi.data.runs(since=timedelta(minutes=5), folder=folder) == [run.info]
    assert qmi.data.runs(until=timedelta(minutes=5), folder=folder) == []


# -- folders


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that other users may look into, as those of pytest may not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@contextmanager
def nobody() -> Iterator[None]:
    """Somebody who may do no more than everybody; root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@with_permissions
@pytest.mark.parametrize("what", ["", "runs", "runs/open", "runs/2026"])
def test_run_that_no_file_can_be_made_for_does_not_begin(shared: Path, what: str) -> None:
    folder = shared / "runs"
    for each in {"": [], "runs": ["runs"]}.get(what, ["runs", "runs/open", "runs/2026"]):
        (shared / each).mkdir()
    for each in ("", "runs", "runs/open", "runs/2026"):
        if (shared / each).exists():
            (shared / each).chmod(0o555 if each == what else 0o777)
    with (
        clocks_at("2026-11-26T12:00:00+00:00"),
        nobody(),
        pytest.raises(QMI_RecordingException, match=r'Permission denied.*"datastore" in the configuration.*folder='),
    ):
        qmi.data.run("run", ["T"], folder=folder).__enter__()
    assert list(folder.glob("open/*")) == []


@pytest.mark.parametrize("what", ["runs", "runs/open", "runs/2026"])
def test_file_in_the_place_of_a_folder_is_named(tmp_path: Path, what: str) -> None:
    place = tmp_path / what
    place.parent.mkdir(exist_ok=True)
    place.write_text("something else")
    with (
        clocks_at("2026-11-26T12:00:00+00:00"),
        pytest.raises(QMI_RecordingException, match=r"runs: (File exists|Not a directory|.*is a file)"),
    ):
        qmi.data.run("run", ["T"], folder=tmp_path / "runs").__enter__()
    assert place.read_text() == "something else"


@with_permissions
@pytest.mark.parametrize("how", ["no permission", "a folder"])
def test_run_whose_index_cannot_be_written_keeps_its_rows(
    shared: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shared / "runs"
    folder.mkdir()
    folder.chmod(0o777)
    index = folder / "index.sqlite"
    if how == "a folder":
        index.mkdir()
    else:
        with qmi.data.run("earlier", ["T"], folder=folder):
            pass
        index.chmod(0o444)
        for inner in folder.iterdir():
            if inner.is_dir():
                inner.chmod(0o777)
    with nobody():
        with qmi.data.run("run", ["T"], tags=["a"], folder=folder) as run:
            run.add(T=1.5)
        assert qmi.data.load(run.run_id, folder=folder).T.values.tolist() == [1.5]
        assert f"Run {run.run_id} is not in the index" in caplog.text
        if how == "a folder":
            with pytest.raises(QMI_RecordingException, match="index"):
                qmi.data.runs(folder=folder)
        else:
            assert [info.name for info in qmi.data.runs(folder=folder)] == ["earlier"]
    if how == "a folder":
        index.rmdir()
    else:
        index.chmod(0o644)
    qmi.data.recover(folder)
    assert [info.run_id for info in qmi.data.runs(tag="a", folder=folder)] == [run.run_id]


@pytest.mark.skipif(os.name == "nt", reason="a folder with open files cannot be taken away there")
@pytest.mark.parametrize("how", ["taken away", "moved", "another in its place"])
def test_rows_are_kept_though_the_folder_vanishes_while_the_run_lasts(folder: Path, how: str) -> None:
    with qmi.data.run("run", {"T": "K"}, tags=["a"], folder=folder) as run:
        run.add(T=1.0)
        if how == "moved":
            folder.rename(folder.with_name("elsewhere"))
        else:
            shutil.rmtree(folder)
        if how == "another in its place":
            (folder / "open").mkdir(parents=True)
        run.add(T=2.0)
    assert qmi.data.load("run", folder=folder).T.values.tolist() == [1.0, 2.0]
    assert [info.state for info in qmi.data.runs(tag="a", folder=folder)] == ["done"]
    assert list((folder / "open").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="a folder with open files cannot be taken away there")
def test_log_of_another_run_in_the_place_of_a_lost_one_is_kept(folder: Path) -> None:
    with clocks_at("2026-11-26T12:00:00+00:00"):
        with qmi.data.run("run", ["T"], folder=folder) as first:
            first.add(T=1.0)
            shutil.rmtree(folder)
            with qmi.data.run("run", ["T"], folder=folder) as second:
                second.add(T=2.0)
                assert second.run_id == first.run_id
        found = [float(qmi.data.load(info, folder=folder).T[0]) for info in qmi.data.runs(folder=folder)]
    assert sorted(found) == [1.0, 2.0]


@with_permissions
def test_rows_are_kept_though_nothing_can_be_put_where_the_folder_was(shared: Path, tmp_path: Path) -> None:
    folder = shared / "runs"
    with nobody():
        run = qmi.data.run("run", ["T"], folder=folder)
        run.__enter__()
        run.add(T=1.0)
    shutil.rmtree(folder)
    shared.chmod(0o555)
    with nobody(), pytest.raises(QMI_RecordingException, match=r"was taken away.*Its rows are whole in") as caught:
        run.__exit__(None, None, None)
    shared.chmod(0o777)
    kept = Path(str(caught.value).partition("whole in ")[2].partition(":")[0])
    (tmp_path / "open").mkdir()
    shutil.move(kept, tmp_path / "open")
    kept.parent.rmdir()
    assert [info.state for info in qmi.data.recover(tmp_path)] == ["done"]
    assert qmi.data.load("run", folder=tmp_path).T.values.tolist() == [1.0]


@with_permissions
def test_file_that_cannot_be_made_at_the_end_is_made_when_that_is_mended(shared: Path) -> None:
    folder = shared / "runs"
    with nobody():
        run = qmi.data.run("run", ["T"], folder=folder)
        run.__enter__()
        run.add(T=1.0)
        year = folder / run.run_id[:4]
        year.chmod(0o555)
        with pytest.raises(QMI_RecordingException, match=r"Permission denied.*The rows are whole in .*recover\(\)"):
            run.__exit__(None, None, None)
        with pytest.raises(QMI_UnknownNameException):
            qmi.data.load(run.run_id, folder=folder)
        year.chmod(0o755)
        assert [info.state for info in qmi.data.recover(folder)] == ["done"]
        assert qmi.data.load(run.run_id, folder=folder).T.values.tolist() == [1.0]
