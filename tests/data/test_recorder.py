"""The recorder: what was recorded is in the file, or the program is told."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from qmi.core.exceptions import QMI_InvalidOperationException
from qmi.data.hdf5recorder import HDF5Recorder

LONG = 1000.0


@pytest.fixture(params=["h5py", "h5netcdf"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend."""
    return str(request.param)


def content(path: Path, name: str = "x") -> Any:
    with h5py.File(path) as file:
        return file[name][...].tolist()


@pytest.mark.parametrize("interval", [0, LONG])
@pytest.mark.parametrize("keep_open", [False, True])
def test_recorder_appends(tmp_path: Path, backend: str, interval: float, keep_open: bool) -> None:
    path = tmp_path / "file.h5"
    for start in (0, 4):  # a new file, and one that exists
        with HDF5Recorder(str(path), interval, keep_open, backend) as recorder:
            for place in range(start, start + 4):
                recorder.record("x", np.array([place]))
                recorder.record("y", np.full((2, 3), place, dtype=float))
    assert content(path) == list(range(8))
    assert content(path, "y") == [[float(place)] * 3 for place in range(8) for _ in range(2)]


def test_recorder_copies_what_it_is_given(tmp_path: Path) -> None:
    values = np.arange(3)
    with HDF5Recorder(tmp_path / "file.h5", LONG) as recorder:
        recorder.record("x", values)
        values[:] = 9
        recorder.record("x", values)
    assert content(tmp_path / "file.h5") == [0, 1, 2, 9, 9, 9]


def test_recorder_writes_attributes_as_soon_as_the_dataset_exists(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "file.h5"
    with HDF5Recorder(path, 0, backend=backend) as recorder:
        recorder.set_attribute("x", "unit", "V")
        recorder.set_attribute("never", "unit", "V")
        recorder.record("x", np.array([1.0]))
    with HDF5Recorder(path, LONG, backend=backend) as recorder:
        recorder.set_attribute("x", "unit", "mV")
        recorder.set_attribute("x", "gain", np.float32(1.5))  # type: ignore[arg-type]
    with h5py.File(path) as file:
        assert file["x"].attrs["unit"] == "mV"
        assert float(np.squeeze(file["x"].attrs["gain"])) == 1.5
        assert "never" not in file


def test_recorder_writes_after_its_interval_without_being_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = threading.Event()
    write = HDF5Recorder._write

    def told(self: HDF5Recorder, *arguments: Any) -> None:
        write(self, *arguments)
        written.set()

    monkeypatch.setattr(HDF5Recorder, "_write", told)
    with HDF5Recorder(tmp_path / "file.h5", 0.0) as recorder:
        recorder.record("x", np.arange(3))
        assert written.wait(30)
        assert content(tmp_path / "file.h5") == [0, 1, 2]
        recorder.record("x", np.arange(0))


def test_types_that_fit_are_taken(tmp_path: Path) -> None:
    with HDF5Recorder(tmp_path / "file.h5", LONG) as recorder:
        for kind, value in ((float, 1.5), (int, 2), (bool, True), (np.float32, 2.5)):
            recorder.record("x", np.array([value], dtype=kind))
        recorder.record("i", np.array([1], dtype=np.int16))
        recorder.record("i", np.array([32767]))
        with pytest.raises(ValueError, match=r"'i' of type int64 are too large for the dataset: int16"):
            recorder.record("i", np.array([32768]))
        with pytest.raises(TypeError, match=r"'i' are of type float64; the dataset has int16"):
            recorder.record("i", np.array([1.5]))
        with pytest.raises(TypeError, match="complex128; the dataset has float64"):
            recorder.record("x", np.array([1j]))
    assert content(tmp_path / "file.h5") == [1.5, 2.0, 1.0, 2.5]
    assert content(tmp_path / "file.h5", "i") == [1, 32767]


@pytest.mark.parametrize(
    ("name", "values", "error", "text"),
    [
        ("x", np.array(1.0), TypeError, "values for 'x' must be an array"),
        ("x", np.array(["a"]), TypeError, "values for 'x' must be numbers, got values of type <U1"),
        ("x", np.zeros((2, 0)), ValueError, "rows without values"),
        ("y", np.zeros((1, 2)), ValueError, r"rows for 'y' have the shape \(2,\); those of the dataset are \(3,\)"),
        ("y", np.zeros(3), ValueError, r"rows for 'y' have the shape \(\)"),
        ("fixed", np.zeros(3), ValueError, "'fixed' of the file has a fixed size"),
        ("", np.zeros(3), ValueError, "dset_name must be"),
        ("a/b", np.zeros(3), ValueError, "dset_name must be"),
        (".", np.zeros(3), ValueError, "dset_name must be"),
        (5, np.zeros(3), ValueError, "dset_name must be"),
    ],
)
def test_values_that_do_not_fit_are_refused_at_once(
    tmp_path: Path, name: Any, values: Any, error: type[Exception], text: str
) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("y", shape=(0, 3), dtype=float, maxshape=(None, 3), chunks=(1, 3))
        file["fixed"] = np.zeros(3)
    with HDF5Recorder(path, LONG) as recorder:
        with pytest.raises(error, match=text):
            recorder.record(name, values)
        recorder.record("z", [1])  # type: ignore[arg-type]
    assert content(path, "z") == [1]


@pytest.mark.parametrize("value", [[1], None, {"a": 1}, 1j])
def test_attributes_that_are_no_number_or_text_are_refused(tmp_path: Path, value: Any) -> None:
    with HDF5Recorder(tmp_path / "file.h5") as recorder, pytest.raises(TypeError, match="attribute 'a'"):
        recorder.set_attribute("x", "a", value)


def test_recorder_refuses_arguments_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    for interval in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="write_interval must be >= 0 seconds"):
            HDF5Recorder(path, interval)
    with pytest.raises(TypeError, match="write_interval must be a number of seconds, got 'a'"):
        HDF5Recorder(path, "a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="backend"):
        HDF5Recorder(path, backend="x")
    path.write_text("no HDF5")
    with pytest.raises(OSError, match="signature"):
        HDF5Recorder(path)


def test_closed_recorder_refuses_to_record(tmp_path: Path) -> None:
    recorder = HDF5Recorder(tmp_path / "file.h5")
    recorder.close()
    recorder.close()
    calls: list[Callable[[], None]] = [
        lambda: recorder.record("x", np.arange(3)),
        lambda: recorder.set_attribute("x", "a", 1),
    ]
    for call in calls:
        with pytest.raises(QMI_InvalidOperationException, match=r"file\.h5' is closed"):
            call()
    assert not (tmp_path / "file.h5").exists()


def test_error_of_writing_is_raised_by_the_next_call_and_by_close(tmp_path: Path) -> None:
    recorder = HDF5Recorder(tmp_path / "missing" / "file.h5", 0.0)
    recorder.record("x", np.arange(3))
    recorder._thread.join()
    calls: list[Callable[[], None]] = [
        lambda: recorder.record("x", np.arange(3)),
        lambda: recorder.set_attribute("x", "a", 1),
        recorder.close,
    ]
    for call in calls:
        with pytest.raises(OSError, match=r"recording to .*file\.h5' has failed: .*No such file"):
            call()
    recorder.close()  # said once


def test_error_of_the_last_write_is_raised_by_close(tmp_path: Path) -> None:
    recorder = HDF5Recorder(tmp_path / "missing" / "file.h5", LONG)
    recorder.record("x", np.arange(3))
    with pytest.raises(OSError, match="has failed"):
        recorder.close()


def test_threads_may_record_at_once(tmp_path: Path) -> None:
    with HDF5Recorder(tmp_path / "file.h5", 0.0) as recorder:

        def record(number: int) -> None:
            for _ in range(50):
                recorder.record("x", np.array([number]))

        threads = [threading.Thread(target=record, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(content(tmp_path / "file.h5")) == [number for number in range(4) for _ in range(50)]


def test_recorder_that_is_not_closed_writes_when_the_program_ends(tmp_path: Path) -> None:
    program = (
        "import os; from qmi.data.hdf5recorder import HDF5Recorder\n"
        "r = HDF5Recorder('file.h5'); r.record('x', [1, 2]); os.chdir('/')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    assert content(tmp_path / "file.h5") == [1, 2]


FULL = """
import resource, signal, sys
import numpy as np
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from qmi.data.hdf5recorder import HDF5Recorder
with HDF5Recorder("file.h5") as recorder:
    recorder.record("x", np.arange(1000))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, -1))
recorder = HDF5Recorder("file.h5", 0.0, keep_open=sys.argv[1] == "open")
recorder.record("x", np.arange(100_000))
recorder._thread.join()
for call in (lambda: recorder.record("x", np.arange(1)), recorder.close):
    try:
        call()
    except OSError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of the size of files")
@pytest.mark.parametrize("mode", ["open", "shut"])
def test_program_is_told_when_the_disk_is_full(tmp_path: Path, mode: str) -> None:
    """A limit of the size of files stands for the disk."""
    done = subprocess.run([sys.executable, "-c", FULL, mode], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done
    assert done.stdout.count("file.h5' has failed: [Errno 27] File too large") == 2, done
    assert content(tmp_path / "file.h5") == list(range(1000))
