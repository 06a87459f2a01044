"""What is left of a run when its program is cut short, the disk is full, or somebody presses Ctrl-C."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy
import pytest

import qmi.data
from qmi.data.record_format import RecordReader
from qmi.data.run_file import build
from tests.support.cancel_steps import interrupt_at
from tests.support.programs import run_script

# -- a log that is cut off anywhere, as a power failure does


def test_log_that_is_cut_off_at_any_byte_has_the_rows_before(folder: Path, tmp_path: Path) -> None:
    ends: list[int] = []
    with qmi.data.run("cut", ["x", "trace"], folder=folder) as run:
        assert run._log is not None
        log = run._log.path
        for number in range(6):
            run.add(x=float(number), trace=numpy.full(260, number, "f8" if number < 2 else "u1"))
            ends.append(log.stat().st_size)
        content = log.read_bytes()
    begin = ends[0] // 2
    for cut in range(len(content) + 1):
        reader = RecordReader()
        found = len(list(reader.feed(content[:cut]))) + len(list(reader.finish()))
        rows = sum(end <= cut for end in ends)
        assert max(0, found - 1) == rows
        assert reader.torn == cut - ([reader.whole, 0][reader.whole == 0])
        assert reader.skipped == 0
    for cut in [*range(begin, ends[0] + 40, 97), *(end + step for end in ends[1:] for step in (-1, 0, 1))]:
        part = tmp_path / "part.qmirun"
        part.write_bytes(content[:cut])
        rows = sum(end <= cut for end in ends)
        if reader_has_head(content[:cut]):
            assert build(part, tmp_path / "part.nc")["rows"] == rows


def reader_has_head(content: bytes) -> bool:
    return next(RecordReader().feed(content), None) is not None


def test_log_whose_last_block_the_disk_has_lost_has_the_rows_before(folder: Path, tmp_path: Path) -> None:
    ends: list[int] = []
    with qmi.data.run("zeros", ["trace"], folder=folder) as run:
        assert run._log is not None
        log = run._log.path
        for number in range(3):
            run.add(trace=numpy.full(40_000, float(number)))
            ends.append(log.stat().st_size)
        content = log.read_bytes()
    part = tmp_path / "part.qmirun"
    for lost in (1, 4096, 65536):
        # The length of the file has reached the disk, its last blocks have not.
        part.write_bytes(content[: ends[2] - lost] + bytes(lost))
        attributes = build(part, tmp_path / "part.nc")
        assert (attributes["rows"], attributes["damaged"]) == (2, 0)


# -- killed programs

KILLED = """
import os, random, signal, sys
import h5py, numpy
import qmi.data
from qmi.data import run_metadata
run_metadata.of_git = lambda directory: None
folder, kills, seed, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
sizes = [int(size) for size in sys.argv[5:]]  # of arrays; without any, of lists
random.seed(seed)
for attempt in range(kills):
    size = random.choice(sizes or [300])
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        try:
            with qmi.data.run("killed", ["x", "trace", "after"], folder=folder) as run:
                while True:
                    trace = numpy.full(size, float(run.rows)) if sizes else [float(run.rows)] * size
                    run.add(x=run.rows, trace=trace, after="end")
                    os.write(tell, b".")
                    if run.rows == 1000:  # the disk has an end
                        signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    seen = len(os.read(told, 1))
    for _ in range(random.randrange(most)):
        seen += len(os.read(told, 1))
    for _ in range(random.randrange(2000)):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(told, 1 << 16):
        seen += len(more)
    os.close(told)
    (info,) = qmi.data.recover(folder)
    with h5py.File(info.file) as data:
        x, trace, after = data["x"][:], data["trace"][:], data["after"][:]
        assert data.attrs["damaged"] == 0
    os.unlink(info.file)
    assert info.state == "interrupted", info
    assert seen <= info.rows <= seen + 1, (seen, info)
    assert x.tolist() == list(range(info.rows))
    assert (trace == numpy.arange(info.rows)[:, None]).all()
    assert (after == b"end").all()
print("kept")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def test_rows_of_arrays_survive_sigkill_at_any_moment(tmp_path: Path, kills: int) -> None:
    sizes = (10, 500, 40_000, 200_000)
    assert run_script(KILLED, tmp_path / "runs", kills, os.getpid(), 20, *sizes, cwd=tmp_path) == "kept\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def test_rows_survive_sigkill_at_any_moment(tmp_path: Path, kills: int) -> None:
    assert run_script(KILLED, tmp_path / "runs", kills, time.time_ns(), 40, cwd=tmp_path) == "kept\n"


# -- two programs

TWO = """
import os, sys
import h5py
import qmi.data
from qmi.data import run_metadata
run_metadata.of_git = lambda directory: None
folder = sys.argv[1]
ready, tell_ready = os.pipe()
go, tell_go = os.pipe()
children = []
for who in range(2):
    child = os.fork()
    if child == 0:
        os.write(tell_ready, b".")
        os.read(go, 1)
        for number in range(3):
            with qmi.data.run("same", ["who", "n"], folder=folder) as run:
                os.write(tell_ready, b".")
                for n in range(200):
                    run.add(who=who, n=n)
        os._exit(0)
    children.append(child)
seen = 0
while seen < 2:
    seen += len(os.read(ready, 1))
os.write(tell_go, b"..")
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
infos = qmi.data.runs("same", folder=folder)
assert len({info.run_id for info in infos}) == 6, infos
found = []
for info in infos:
    with h5py.File(info.file) as data:
        assert data["n"][:].tolist() == list(range(200))
        found.append(set(data["who"][:].tolist()))
    assert info.state == "done"
assert sorted(map(list, found)) == [[0]] * 3 + [[1]] * 3
assert os.listdir(os.path.join(folder, "open")) == []
print("kept")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_programs_that_record_runs_of_one_name_have_a_run_each(tmp_path: Path) -> None:
    assert run_script(TWO, tmp_path / "runs", cwd=tmp_path) == "kept\n"


# -- a full disk

FULL = """
import os, sys
import h5py, numpy
import qmi.data
from qmi.data import run_metadata
from qmi.core.exceptions import QMI_RecordingException
run_metadata.of_git = lambda directory: None
folder, ballast, kind = sys.argv[1] + "/runs", sys.argv[1] + "/ballast", sys.argv[2]
row = {"floats": {"x": 1.5, "y": 2.5}, "arrays": {"x": 1.5, "y": numpy.arange(40_000.0)}}[kind]
with open(ballast, "wb") as file:
    file.write(bytes(2 << 20))
try:
    with qmi.data.run("full", list(row), folder=folder) as run:
        while True:
            row["x"] = float(run.rows)
            run.add(**row)
except QMI_RecordingException as error:
    assert f"{folder}/open/{run.run_id}.qmirun cannot be written: No space left on device" in str(error), error
    assert "qmi.data.recover()" in str(error), error
else:
    raise AssertionError("the disk was not full")
try:
    qmi.data.recover(folder)
except QMI_RecordingException as error:
    assert "full.qmirun" in str(error) and ("free on the disk" in str(error) or "No space" in str(error)), error
else:
    raise AssertionError("there was no room for the file")
assert [path.endswith(".qmirun") for path in os.listdir(folder + "/open")] == [True]
os.truncate(ballast, 0)
if kind == "arrays":  # the rows twice, and what was free
    os.system(f"mount -o remount,size=12m {sys.argv[1]}")
(info,) = qmi.data.recover(folder)
with h5py.File(info.file) as data:
    assert data["x"][:].tolist() == [float(number) for number in range(run.rows)]
    assert data["y"].shape[0] == run.rows
assert info.rows == run.rows > 3
print("kept")
"""


@pytest.fixture
def in_namespace(tmp_path: Path) -> list[str]:
    """Runs a program as root of a namespace of its own, with a disk of 4 MB in the folder "disk"."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("a small disk is made with the command 'unshare' (util-linux)")
    (tmp_path / "disk").mkdir()
    script = f'mount -t tmpfs -o size=4m none "{tmp_path / "disk"}" && exec "$@"'
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"no disk can be mounted in a namespace here: {tried.stderr.strip()}")
    return prefix


@pytest.mark.parametrize("kind", ["floats", "arrays"])
def test_full_disk_stops_the_run_and_its_rows_are_recovered(tmp_path: Path, in_namespace: list[str], kind: str) -> None:
    assert run_script(FULL, tmp_path / "disk", kind, cwd=tmp_path, prefix=in_namespace) == "kept\n"


# -- Ctrl-C and threads


def in_log(filename: str) -> bool:
    return filename.endswith(("/qmi/data/run_log.py", "/qmi/data/record_format.py", "/qmi/data/row_format.py"))


@pytest.mark.parametrize("size", [3, 400, 40_000])
def test_interrupt_at_any_step_of_adding_costs_no_row_and_tears_none(folder: Path, size: int) -> None:
    added: list[float] = []
    with qmi.data.run("interrupted", ["x", "trace"], folder=folder) as run:
        run.add(x=-1.0, trace=numpy.full(size, -1.0))
        number = 0
        reached = True
        while reached:
            number += 1

            def add(value: float = float(number)) -> None:
                run.add(x=value, trace=numpy.full(size, value))
                added.append(value)

            reached = interrupt_at(number, add, in_log, lambda: True)
            run.add(x=number + 0.5, trace=numpy.full(size, number + 0.5))
            added.append(number + 0.5)
    assert number > 5
    data = qmi.data.load(run.run_id, folder=folder)
    x = data.x.values.tolist()
    assert data.attrs["damaged"] == 0
    assert data.attrs["rows_lost"] == 0
    assert sorted(x) == x
    # What an interrupt has ended is there as a whole, or not at all.
    assert set(added) <= set(x) <= {-1.0, *added, *map(float, range(1, number + 1))}
    numpy.testing.assert_array_equal(data.trace.values, numpy.repeat(data.x.values[:, None], size, axis=1))


@pytest.mark.parametrize("sizes", [[1, 1, 1], [40_000, 40_000, 40_000], [1, 400, 400]])
def test_rows_that_threads_add_at_once_are_all_there(folder: Path, sizes: list[int]) -> None:
    rows, names = 60, ["a", "b", "c"]
    barrier = threading.Barrier(len(sizes))
    with qmi.data.run("threads", ["who", "n", *names], folder=folder) as run:

        def add(who: int) -> None:
            barrier.wait()
            for n in range(rows):
                values: dict[str, Any] = dict.fromkeys(names)
                values[names[who]] = numpy.full(sizes[who], float(n))
                run.add(who=who, n=n, **values)

        threads = [threading.Thread(target=add, args=(who,)) for who in range(len(sizes))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert run.rows == rows * len(sizes)
    data = qmi.data.load(run.run_id, folder=folder)
    assert (data.attrs["rows"], data.attrs["damaged"], data.attrs["rows_lost"]) == (run.rows, 0, 0)
    for who, name in enumerate(names):
        mine = data.where(data.who == who, drop=True)
        assert mine.n.values.tolist() == list(range(rows))
        assert (mine[name].values == mine.n.values[:, None]).all()


def test_log_of_an_earlier_version_is_read(folder: Path) -> None:
    import cbor2

    from qmi.data.record_format import frame

    head = {
        "format": "qmi-run-1",
        "run_id": "20250101-000000_old",
        "name": "old",
        "columns": {"x": "V", "trace": ""},
        "axes": {},
        "coordinates": [],
        "started": 0,
        "metadata": {},
    }
    rows = [
        [number, number * 1000, number / 2, cbor2.CBORTag(60002, ["<f8", [400], numpy.full(400, number / 2).tobytes()])]
        for number in range(40)
    ]
    (folder / "open").mkdir(parents=True)
    (folder / "2025").mkdir()
    log = folder / "open" / "20250101-000000_old.qmirun"
    log.write_bytes(b"QMIRUN1\n" + b"".join(b"\xd7QR\n" + frame(cbor2.dumps(record))[4:] for record in [head, *rows]))
    (info,) = qmi.data.recover(folder)
    data = qmi.data.load(info)
    assert data.x.values.tolist() == [number / 2 for number in range(40)]
    assert (data.trace.values == data.x.values[:, None]).all()
