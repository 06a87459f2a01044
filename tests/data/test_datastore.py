"""Folders of data: names, times, and files that are whole or not there."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from qmi.core.config_defs import CfgQmi
from qmi.core.exceptions import QMI_UsageException
from qmi.data.dataset import DataSet
from qmi.data.datastore import DataFolder, DataStore
from tests.support.datasets import made, parts, without_names


@pytest.fixture
def store(tmp_path: Path) -> DataStore:
    """An empty store."""
    return DataStore(str(tmp_path))


@pytest.fixture
def folder(store: DataStore) -> DataFolder:
    """An empty folder."""
    return store.make_folder("scan", date_str="20251231", time_str="235959")


# -- folders


def test_folder_is_named_by_date_time_and_label(store: DataStore, folder: DataFolder) -> None:
    assert folder.folder_path == os.path.join(store.basedir, "20251231", "235959_scan")
    assert (folder.label, folder.date_str, folder.time_str) == ("scan", "20251231", "235959")
    assert repr(folder) == f"DataFolder({folder.folder_path!r})"
    assert repr(store) == f"DataStore({store.basedir!r})"


@pytest.mark.parametrize(
    ("zone", "local", "name"),
    [
        ("Europe/Amsterdam", True, "20231114/231320_a"), ("Pacific/Auckland", True, "20231115/111320_a"),
        ("Pacific/Auckland", False, "20231114/221320_a"), ("UTC", True, "20231114/221320_a"),
        ("America/St_Johns", True, "20231114/184320_a"),
    ],
)  # fmt: skip
def test_folder_has_the_time_of_its_zone(
    store: DataStore, monkeypatch: pytest.MonkeyPatch, zone: str, local: bool, name: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    monkeypatch.setattr(DataStore, "USE_LOCAL_TIME", local)
    time.tzset()
    try:
        assert store.make_folder("a", timestamp=1700000000.9).folder_path == os.path.join(store.basedir, name)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_folder_has_the_time_of_now_if_none_is_given(store: DataStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.data.datastore.time.time", lambda: 86400.0 * 400)
    monkeypatch.setattr(DataStore, "USE_LOCAL_TIME", False)
    assert store.make_folder("a").date_str == "19710205"


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ({"date_str": "20251231"}, "give both date_str and time_str"),
        ({"time_str": "235959"}, "give both date_str and time_str"),
        ({"timestamp": 1.0, "date_str": "20251231", "time_str": "235959"}, "give either timestamp, or"),
        ({"date_str": "2025", "time_str": "235959"}, "date_str must be 8 digits such as '20251231', got '2025'"),
        ({"date_str": "20251301", "time_str": "235959"}, "date_str must be"),
        ({"date_str": "20230229", "time_str": "235959"}, "date_str must be"),
        ({"date_str": "../../..", "time_str": "235959"}, "date_str must be"),
        ({"date_str": "２０２５１２３１", "time_str": "235959"}, "date_str must be"),  # noqa: RUF001
        ({"date_str": "20251231", "time_str": "245959"}, "time_str must be"),
        ({"date_str": "20251231", "time_str": "23:59:59"}, "time_str must be"),
        ({"date_str": 20251231, "time_str": "235959"}, "date_str must be"),
        ({"timestamp": float("nan")}, "timestamp must be seconds since 1970, got nan"),
        ({"timestamp": float("inf")}, "timestamp must be"),
        ({"timestamp": 1e12}, "timestamp must be"),
    ],
)
def test_times_that_are_none_are_refused(store: DataStore, times: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        store.make_folder("a", **times)
    assert os.listdir(store.basedir) == []


@pytest.mark.parametrize("label", ["", "a b", "a/b", "../a", "a\\b", "é", "a\n", "a:b", "a\0", 5, None, "a.", ".."])
def test_label_that_is_no_file_name_is_refused(store: DataStore, label: Any) -> None:
    with pytest.raises(ValueError, match="label"):
        store.make_folder(label)
    assert os.listdir(store.basedir) == []


def test_folder_that_exists_is_not_made_again(store: DataStore, folder: DataFolder) -> None:
    with pytest.raises(FileExistsError, match="235959_scan' exists already"):
        store.make_folder("scan", date_str="20251231", time_str="235959")
    store.make_folder("other", date_str="20251231", time_str="235959")


def test_folder_is_made_by_one_of_many_that_try_at_once(store: DataStore) -> None:
    barrier = threading.Barrier(8)
    outcomes: list[str] = []

    def make() -> None:
        barrier.wait()
        try:
            store.make_folder("scan", timestamp=1e9)
            outcomes.append("made")
        except FileExistsError:
            outcomes.append("exists")

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["exists"] * 7 + ["made"]


def test_folder_where_none_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DataStore(tmp_path)
    (tmp_path / "20251231").write_text("a file")
    with pytest.raises(OSError, match="20251231"):
        store.make_folder("a", date_str="20251231", time_str="000000")

    def refuse(path: str, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(PermissionError, match=str(tmp_path)):
        store.make_folder("a")


def test_store_and_folder_must_exist(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for kind in (DataStore, DataFolder):
        for name in ("missing", "file"):
            with pytest.raises(FileNotFoundError, match=name):
                kind(str(tmp_path / name))


def test_folders_are_found(store: DataStore, folder: DataFolder) -> None:
    early = store.make_folder("scan", date_str="20250101", time_str="120000")
    longer = store.make_folder("scan_2", date_str="20260101", time_str="000000")
    for junk in ("junk/000000_scan", "20250101/junk", "20250101/1200_scan", "20250101/000000_", "20300101"):
        os.makedirs(os.path.join(store.basedir, junk))
    Path(store.basedir, "20250101", "999999_scan").write_text("")
    Path(store.basedir, "20310101").write_text("")
    assert list(map(repr, store.list_folders())) == list(map(repr, [early, folder, longer]))
    assert list(map(repr, store.list_folders("scan"))) == list(map(repr, [early, folder]))
    assert store.list_folders("other") == []
    assert repr(store.find_latest_folder("scan")) == repr(folder)
    assert repr(store.find_latest_folder("scan", "20250101")) == repr(early)
    assert store.find_latest_folder("scan", "19990101") is None
    assert store.find_latest_folder("other") is None
    found = store.get_folder("scan_2", "20260101", "000000")
    assert vars(found) == vars(longer)
    assert vars(store.list_folders("scan_2")[0]) == vars(longer)


@pytest.mark.parametrize(
    ("label", "date", "clock"),
    [("scan", "20251231", "000000"), ("..", "20251231", "235959"), ("x/../235959_scan", "20251231", "235959"),
     ("scan", "x/../20251231", "235959"), ("scan", ".", "235959"), ("scan", "20251231", "../20251231/235959")],
)  # fmt: skip
def test_folder_that_is_none_is_not_found(
    store: DataStore, folder: DataFolder, label: str, date: str, clock: str
) -> None:
    with pytest.raises(FileNotFoundError):
        store.get_folder(label, date, clock)


def test_folder_is_found_by_its_path(
    store: DataStore, folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("20251231/235959_scan", folder.folder_path, Path(folder.folder_path)):
        assert vars(store.get_folder_from_path(path)) == vars(folder)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    found = store.get_folder_from_path("elsewhere")
    assert (found.folder_path, found.label, found.date_str) == (str(elsewhere), None, None)
    with pytest.raises(FileNotFoundError, match="missing"):
        store.get_folder_from_path("missing")


# -- datasets in folders


@pytest.mark.parametrize("backend", ["h5py", "h5netcdf"])
def test_dataset_is_written_and_read(folder: DataFolder, backend: str) -> None:
    dataset = made((2, 3, 2))
    folder.write_dataset(dataset, backend=backend)
    assert os.listdir(folder.folder_path) == ["sweep.hdf5"]
    for reader in ("h5py", "h5netcdf"):
        assert parts(folder.read_dataset("sweep", reader)) == parts(dataset)


def test_dataset_is_written_and_read_as_text(folder: DataFolder) -> None:
    dataset = made((2, 3, 2))
    folder.write_dataset(dataset, "text")
    assert os.listdir(folder.folder_path) == ["sweep.dat"]
    assert parts(folder.read_dataset("sweep")) == parts(dataset)


def test_datasets_of_qmi_are_read(folder: DataFolder) -> None:
    upstream = Path(__file__).with_name("upstream")
    place = Path(folder.folder_path)
    (place / "sweep.hdf5").write_bytes((upstream / "0.54-folder.h5").read_bytes())
    assert parts(folder.read_dataset("sweep")) == parts(made((3, 2)))
    (place / "sweep.hdf5").unlink()
    (place / "sweep.h5").write_bytes((upstream / "0.51-axis2.h5").read_bytes())
    assert parts(folder.read_dataset("sweep")) == parts(without_names(made((3, 2)), axes=True))


@pytest.mark.parametrize("file_format", ["hdf5", "text"])
def test_dataset_that_exists_is_replaced_only_if_asked(folder: DataFolder, file_format: str) -> None:
    folder.write_dataset(made((3,)), file_format)
    with pytest.raises(FileExistsError, match="sweep"):
        folder.write_dataset(made((5,)), file_format)
    assert folder.read_dataset("sweep").data.shape == (3,)
    folder.write_dataset(made((5,)), file_format, overwrite=True)
    assert folder.read_dataset("sweep").data.shape == (5,)
    assert len(os.listdir(folder.folder_path)) == 1


def test_replacing_a_dataset_keeps_what_else_is_in_the_file(folder: DataFolder) -> None:
    folder.write_dataset(made((3,)))
    with folder.open_hdf5file("sweep.hdf5", write_mode=True) as file:
        folder.add_dataset_to_file(file, DataSet("other", shape=(1, 1)), {"operator": "me"})
    folder.write_dataset(made((5,)), overwrite=True)
    assert folder.read_dataset("sweep").data.shape == (5,)
    with folder.open_hdf5file("sweep.hdf5") as file:
        assert sorted(file) == ["other", "sweep"]
        assert file.attrs["operator"] == "me"
        assert sorted(name for name in file.attrs if "name" in name) == ["QMI_Dataset_name_0", "QMI_Dataset_name_1"]


BAD_NAMES = ["", "a b", "a/b", "../a", "a\\b", "é", "a.b", ".a", "a\n", "a\0", "CON", "nul", "COM1"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("file_format", ["hdf5", "text"])
def test_dataset_whose_name_is_no_file_name_is_refused(folder: DataFolder, name: str, file_format: str) -> None:
    with pytest.raises(ValueError, match="name"):
        folder.write_dataset(DataSet(name, shape=(1,)), file_format)
    assert os.listdir(folder.folder_path) == []


@pytest.mark.parametrize("file_format", ["hdf5", "text"])
def test_name_that_is_too_long_is_an_error_of_the_system(folder: DataFolder, file_format: str) -> None:
    with pytest.raises(OSError, match="too long"):
        folder.write_dataset(DataSet("a" * 300, shape=(1,)), file_format)
    assert os.listdir(folder.folder_path) == []


def test_dataset_that_is_missing_is_not_found(folder: DataFolder) -> None:
    for name in ("a", "", "a b", "é"):
        with pytest.raises(FileNotFoundError, match="there is no dataset"):
            folder.read_dataset(name)
    for name in ("a/b", "../a", "a\\b", "a\0b"):
        with pytest.raises(ValueError, match="no path"):
            folder.read_dataset(name)


def test_formats_and_backends_that_are_none_are_refused(folder: DataFolder) -> None:
    with pytest.raises(QMI_UsageException, match="file_format must be 'hdf5' or 'text', got 'csv'"):
        folder.write_dataset(made((3,)), "csv")
    folder.write_dataset(made((3,)))
    for call in (
        lambda: folder.write_dataset(made((3,)), backend="x"),
        lambda: folder.read_dataset("sweep", backend="x"),
        lambda: folder.make_hdf5file("b.h5", backend="x"),
        lambda: folder.open_hdf5file("sweep.hdf5", backend="x"),
    ):
        with pytest.raises(ValueError, match="backend must be 'h5py' or 'h5netcdf', got 'x'"):
            call()


def test_missing_library_is_named(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in ("h5py", "h5netcdf"):
        monkeypatch.setitem(sys.modules, backend, None)
        for call in (
            lambda: folder.write_dataset(made((3,)), backend=backend),  # noqa: B023
            lambda: folder.make_hdf5file("b.h5", backend=backend),  # noqa: B023
        ):
            with pytest.raises(ImportError, match=f"need {backend}, which is not installed: .* pip install {backend}"):
                call()
        folder.write_dataset(made((3,)), "text", overwrite=True)
        monkeypatch.undo()
    assert os.listdir(folder.folder_path) == ["sweep.dat"]


# -- HDF5 files


@pytest.mark.parametrize("backend", ["h5py", "h5netcdf"])
def test_hdf5_file_takes_several_datasets(folder: DataFolder, backend: str) -> None:
    first, second = made((3, 2)), DataSet("b c", data=np.arange(4.0))
    with folder.make_hdf5file("all.h5", backend) as file:
        folder.add_dataset_to_file(file, first, {"operator": "me", "ok": True, "list": [1, 2]})
        folder.add_dataset_to_file(file, second)
        with pytest.raises(QMI_UsageException, match="has a dataset or group 'sweep' already"):
            folder.add_dataset_to_file(file, first)
    from qmi.data.dataset import read_dataset_from_hdf5

    with folder.open_hdf5file("all.h5", backend=backend) as file:
        assert parts(read_dataset_from_hdf5(file["sweep"])) == parts(first)
        assert parts(read_dataset_from_hdf5(file["b c"])) == parts(second)
        assert (file.attrs["operator"], int(file.attrs["ok"])) == ("me", 1)
        assert [file.attrs[f"QMI_Dataset_name_{number}"] for number in (0, 1)] == ["sweep", "b c"]


def test_hdf5_file_that_exists_is_not_made_again(folder: DataFolder) -> None:
    folder.make_hdf5file("a.hdf5").close()
    with pytest.raises(FileExistsError, match=r"a\.hdf5' exists already"):
        folder.make_hdf5file("a.hdf5")
    with folder.open_hdf5file("a.hdf5") as file, pytest.raises(OSError, match="no write intent"):
        file.attrs["x"] = 1
    with folder.open_hdf5file("a.hdf5", write_mode=True) as file:
        file.attrs["x"] = 1


def test_names_of_hdf5_files_are_checked(folder: DataFolder) -> None:
    for call in (folder.make_hdf5file, folder.open_hdf5file):
        for name in ("a b.h5", "a/b.h5", "../a.h5", ".h5", "a.b.h5", ".a.h5", "é.h5", "nul.h5", "a\n.h5", "a/b"):
            with pytest.raises(ValueError, match="the name of a file"):
                call(name)
        for name in ("a", "a.dat", "a.H5"):
            with pytest.raises(QMI_UsageException, match=r"ends with '\.h5' or '\.hdf5', got"):
                call(name)
        with pytest.raises(TypeError, match="must be a text, got 5"):
            call(5)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=r"no HDF5 file 'a\.h5'"):
        folder.open_hdf5file("a.h5")
    assert os.listdir(folder.folder_path) == []


def test_attributes_of_a_file_are_checked_before_anything_is_written(folder: DataFolder) -> None:
    with folder.make_hdf5file("a.h5") as file:
        before = dict(file.attrs)
        for attributes in ({"a": None}, {"QMI_version": "1"}, {"QMI_Dataset_name_0": "x"}):
            with pytest.raises((TypeError, ValueError), match="attribute"):
                folder.add_dataset_to_file(file, made((3,)), attributes)
        assert list(file) == []
        assert dict(file.attrs) == before


# -- whole files


WRITERS: dict[str, Callable[[DataFolder], Any]] = {
    "hdf5": lambda folder: folder.write_dataset(made((5,)), overwrite=True),
    "text": lambda folder: folder.write_dataset(made((5,)), "text", overwrite=True),
    "config": lambda folder: folder.write_config(CfgQmi()),
}
FILES = {"hdf5": "sweep.hdf5", "text": "sweep.dat", "config": "scan-20251231-235959.json"}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_full_disk_leaves_what_was_there_before(
    folder: DataFolder, kind: str, there: bool, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(folder.folder_path, FILES[kind])
    if there:
        WRITERS[kind](folder)
    before = path.read_bytes() if there else None

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left"):
        WRITERS[kind](folder)
    monkeypatch.undo()
    assert (path.read_bytes() if path.exists() else None) == before
    assert os.listdir(folder.folder_path) == ([path.name] if there else [])


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("file_format", ["hdf5", "text"])
def test_file_that_another_program_makes_meanwhile_is_kept(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch, links: bool, file_format: str
) -> None:
    """Not every file system has hard links."""
    path = Path(folder.folder_path, FILES[file_format])
    link = os.link

    def other_comes_first(source: Any, target: Any) -> None:
        path.write_text("of the other program")
        if not links:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        link(source, target)

    monkeypatch.setattr(os, "link", other_comes_first)
    with pytest.raises(FileExistsError, match=str(path)):
        folder.write_dataset(made((3,)), file_format)
    assert path.read_text() == "of the other program"
    assert os.listdir(folder.folder_path) == [path.name]


def test_file_is_written_where_there_are_no_hard_links(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    folder.write_dataset(made((3,)))
    assert os.listdir(folder.folder_path) == ["sweep.hdf5"]
    assert folder.read_dataset("sweep").data.shape == (3,)


# -- other files


def test_configuration_is_written_as_json(folder: DataFolder, tmp_path: Path) -> None:
    import json

    for place in (folder, DataFolder(str(tmp_path))):
        place.write_config(CfgQmi())
        place.write_config(CfgQmi(workgroup="lab"))  # the latest one counts
    path = Path(folder.folder_path, FILES["config"])
    assert json.loads(path.read_text())["workgroup"] == "lab"
    assert path.read_text() == (tmp_path / "config.json").read_text()
    with pytest.raises(TypeError):
        folder.write_config({"a": 1})


def test_file_is_copied_with_its_permissions(folder: DataFolder, tmp_path: Path) -> None:
    source = tmp_path / "settings of a.txt"
    source.write_text("x")
    source.chmod(0o640)
    folder.copy_file(str(source))
    copy = Path(folder.folder_path, source.name)
    assert copy.read_text() == "x"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o640
    source.write_text("y")
    with pytest.raises(FileExistsError, match=source.name):
        folder.copy_file(source)
    assert copy.read_text() == "x"
    for name in ("missing", "."):
        with pytest.raises(OSError):
            folder.copy_file(tmp_path / name)
    assert os.listdir(folder.folder_path) == [source.name]


def test_file_that_is_no_hdf5_is_refused(folder: DataFolder) -> None:
    Path(folder.folder_path, "a.hdf5").write_text("no HDF5")
    with pytest.raises(OSError, match="signature"):
        folder.read_dataset("a")
    with pytest.raises(OSError, match="signature"):
        h5py.File(Path(folder.folder_path, "a.hdf5"))
