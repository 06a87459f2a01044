"""Folders of data: one for each measurement, found by date, time and label.

Files are written whole or not at all: when a disk is full, or the program is killed, there is no half of one.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qmi._version import __version__
from qmi.core.config_struct import config_struct_to_dict
from qmi.data.dataset import DataSet, read_dataset_from_hdf5, read_dataset_from_text, write_dataset_to_hdf5
from qmi.data.file_names import check_label, check_name, check_time, is_label, split_extension
from qmi.data.hdf5_files import MARKER, check_attribute, check_writable
from qmi.data.hdf5_nodes import check_backend, is_netcdf, open_file
from qmi.data.text_files import dataset_as_text
from qmi.data.whole_files import place, temporary_file, write_whole
from qmi.errors import QMI_UsageException

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qmi.data.hdf5_nodes import AnyFile

__all__ = ["DataFolder", "DataStore"]

_VERSION = "QMI_version"
_DATE = re.compile(r"\d{8}", re.ASCII)
_FOLDER = re.compile(r"(\d{6})_(.+)", re.ASCII)


class DataFolder:
    """The files of one measurement.

    Attributes:
        folder_path: The folder.
        label: What kind of measurement it is, or None.
        date_str: Date of the folder, such as "20251231", or None.
        time_str: Time of day of the folder, such as "235959", or None.

    Args:
        folder_path: The folder; it must exist.
        label: What kind of measurement it is.
        date_str: Date of the folder.
        time_str: Time of day of the folder.

    Raises:
        FileNotFoundError: If there is no such folder.
    """

    def __init__(
        self,
        folder_path: str | os.PathLike[str],
        label: str | None = None,
        date_str: str | None = None,
        time_str: str | None = None,
    ) -> None:
        self.folder_path: str = os.fspath(folder_path)
        self.label = label
        self.date_str = date_str
        self.time_str = time_str
        if not os.path.isdir(self.folder_path):
            raise FileNotFoundError(f"there is no folder {self.folder_path!r}")

    def __repr__(self) -> str:
        return f"DataFolder({self.folder_path!r})"

    def _path(self, name: str) -> Path:
        return Path(self.folder_path, name)

    def write_dataset(
        self, ds: DataSet, file_format: str = "hdf5", overwrite: bool = False, backend: str = "h5py"
    ) -> None:
        """Write a dataset into a file of its name: ``NAME.hdf5``, or ``NAME.dat`` as text.

        Args:
            ds: What to write.
            file_format: "hdf5" or "text".
            overwrite: Whether a file of that name is replaced. What else is in an HDF5 file is kept.
            backend: What writes HDF5: "h5py" or "h5netcdf".

        Raises:
            ValueError: If the name is no file name, a part of the dataset does not fit, or there is no such backend.
            TypeError: If a file of this format has no such type of values.
            FileExistsError: If there is a file of that name, and it is not to be overwritten.
            OSError: If the file cannot be written. There is no part of it then, and one that was there is as before.
            QMI_UsageException: If there is no such format.
            ImportError: If h5py or h5netcdf is not installed.
        """
        name = check_name("the name of a dataset", ds.name)
        if file_format == "text":
            write_whole(self._path(f"{name}.dat"), dataset_as_text(ds).encode(), overwrite=overwrite)
            return
        if file_format != "hdf5":
            raise QMI_UsageException(f"file_format must be 'hdf5' or 'text', got {file_format!r}")
        check_backend(backend)
        path = self._path(f"{name}.hdf5")
        if not overwrite and path.exists():
            raise FileExistsError(f"{os.fspath(path)!r} exists; write_dataset(..., overwrite=True) replaces it")
        # In memory first: whatever HDF5 does when a disk is full, this file is whole or not there.
        buffer = _others(path, name) if overwrite else io.BytesIO()
        new = not buffer.getbuffer().nbytes
        with open_file(buffer, "w" if new else "r+", backend) as file:
            if new:
                _begin(file)
            self.add_dataset_to_file(file, ds)
        write_whole(path, buffer.getbuffer(), overwrite=overwrite)

    def read_dataset(self, name: str, backend: str = "h5py") -> DataSet:
        """Read a dataset from the file of its name: ``NAME.hdf5``, ``NAME.h5`` or ``NAME.dat``, the first that exists.

        Args:
            name: Name of the dataset.
            backend: What reads HDF5: "h5py" or "h5netcdf".

        Raises:
            ValueError: If the name contains a path, there is no such backend, or the file is damaged.
            FileNotFoundError: If there is no such file.
            OSError: If it cannot be read.
            ImportError: If h5py or h5netcdf is not installed.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be a text, got {name!r}")
        if "/" in name or "\\" in name or "\0" in name:
            raise ValueError(f"name must be the name of a dataset, and no path; got {name!r}")
        for extension in ("hdf5", "h5"):
            path = self._path(f"{name}.{extension}")
            if path.is_file():
                return _read_hdf5(path, name, backend)
        path = self._path(f"{name}.dat")
        if path.is_file():
            with open(path, encoding="utf-8") as file:
                return read_dataset_from_text(file)
        raise FileNotFoundError(f"there is no dataset {name!r} in {self.folder_path!r}")

    def make_hdf5file(self, name: str, backend: str = "h5py") -> AnyFile:
        """Make a new HDF5 file and return it, open for writing.

        Args:
            name: Name of the file, with its extension: ".h5" or ".hdf5".
            backend: "h5py" or "h5netcdf".

        Raises:
            ValueError: If it is no file name, or there is no such backend.
            QMI_UsageException: If it has another extension.
            FileExistsError: If there is such a file.
            OSError: If it cannot be made.
            ImportError: If h5py or h5netcdf is not installed.
        """
        path = self._hdf5_path(name)
        check_backend(backend)
        if path.exists():
            raise FileExistsError(f"the file {os.fspath(path)!r} exists already; open_hdf5file() opens it")
        file = open_file(path, "x", backend)
        _begin(file)
        return file

    def open_hdf5file(self, name: str, write_mode: bool = False, backend: str = "h5py") -> AnyFile:
        """Open an HDF5 file of the folder.

        Args:
            name: Name of the file, with its extension: ".h5" or ".hdf5".
            write_mode: Whether to write, too.
            backend: "h5py" or "h5netcdf".

        Raises:
            ValueError: If it is no file name, or there is no such backend.
            QMI_UsageException: If it has another extension.
            FileNotFoundError: If there is no such file.
            OSError: If it cannot be opened.
            ImportError: If h5py or h5netcdf is not installed.
        """
        path = self._hdf5_path(name)
        check_backend(backend)
        if not path.is_file():
            raise FileNotFoundError(f"there is no HDF5 file {name!r} in {self.folder_path!r}")
        return open_file(path, "r+" if write_mode else "r", backend)

    def _hdf5_path(self, name: str) -> Path:
        stem, extension = split_extension(name)
        if not extension:
            raise QMI_UsageException(f"the name of an HDF5 file ends with '.h5' or '.hdf5', got {name!r}")
        return self._path(stem + extension)

    def add_dataset_to_file(self, hdf5_file: AnyFile, ds: DataSet, root_attrs: Mapping[str, Any] | None = None) -> None:
        """Write a dataset into an HDF5 file that is open for writing, in a group of its own.

        Args:
            hdf5_file: The file.
            ds: What to write. The group has its name.
            root_attrs: Attributes to write into the file itself: texts, numbers, lists and arrays.

        Raises:
            QMI_UsageException: If the file has something of that name already.
            ValueError: If a part of the dataset or an attribute does not fit.
            TypeError: If HDF5 has no such type of values.
        """
        netcdf = is_netcdf(hdf5_file)
        check_writable(ds, netcdf=netcdf)
        if "/" in ds.name or ds.name in (".", ".."):
            raise ValueError(f"the name of the dataset becomes that of a group, without '/'; got {ds.name!r}")
        for name, value in (root_attrs or {}).items():
            check_attribute(name, value, netcdf=netcdf)
            if name.startswith(MARKER) or name == _VERSION:
                raise ValueError(f"attribute {name!r}: that name is kept for the description of the file")
        if ds.name in hdf5_file:
            raise QMI_UsageException(f"the file has a dataset or group {ds.name!r} already")
        group: Any = hdf5_file.create_group(ds.name)
        write_dataset_to_hdf5(ds, group)
        attributes: Any = hdf5_file.attrs
        attributes[MARKER] = 1
        attributes[_place_of_name(hdf5_file, ds.name)] = ds.name
        for name, value in (root_attrs or {}).items():
            attributes[name] = int(value) if netcdf and isinstance(value, bool) else value

    def write_config(self, config: Any) -> None:
        """Write a configuration as JSON: ``LABEL-DATE-TIME.json``, or ``config.json`` if the folder has no label.

        One that is there is replaced.

        Args:
            config: The configuration, such as ``qmi.context().get_config()``, or an instance of a dataclass.

        Raises:
            TypeError: If it is none.
            OSError: If the file cannot be written.
        """
        parts = (self.label, self.date_str, self.time_str)
        stem = "-".join(cast("tuple[str, str, str]", parts)) if None not in parts else "config"
        text = json.dumps(config_struct_to_dict(config), indent=4, sort_keys=True)
        write_whole(self._path(f"{stem}.json"), text.encode(), overwrite=True)

    def copy_file(self, filename: str | os.PathLike[str]) -> None:
        """Copy a file into the folder.

        Args:
            filename: The file. The copy has its name and permissions.

        Raises:
            FileExistsError: If the folder has a file of that name.
            OSError: If the file cannot be read, or the copy not be written.
        """
        path = self._path(Path(filename).name)
        if path.exists():
            raise FileExistsError(f"{os.fspath(path)!r} exists already, and is not overwritten")
        with temporary_file(path) as temporary:
            shutil.copyfile(filename, temporary)
            shutil.copymode(filename, temporary)
            place(temporary, path, overwrite=False)


def _begin(file: AnyFile) -> None:
    """Write what every file has."""
    attributes: Any = file.attrs
    attributes[_VERSION] = __version__
    attributes[MARKER] = 1


def _place_of_name(file: AnyFile, name: str) -> str:
    number = 0
    while file.attrs.get(f"{MARKER}_name_{number}", name) != name:
        number += 1
    return f"{MARKER}_name_{number}"


def _others(path: Path, name: str) -> io.BytesIO:
    """The content of a file without one of its datasets; empty if there is no other one in it."""
    if not path.exists():
        return io.BytesIO()
    buffer = io.BytesIO(path.read_bytes())
    with open_file(buffer, "r+", "h5py") as file:
        own = {name, *(found for found in file if found.startswith(f"{name}_axis"))}
        if f"{MARKER}_name" in file.attrs or set(file) <= own:
            return io.BytesIO()
        if name in file:
            del file[name]
    return buffer


def _read_hdf5(path: Path, name: str, backend: str) -> DataSet:
    with open_file(path, "r", backend) as file:
        root: Any = file
        if f"{MARKER}_name" not in root.attrs and name in root:
            return read_dataset_from_hdf5(root[name], root)
        return read_dataset_from_hdf5(root)


class DataStore:
    """Folders of data in a folder: ``BASE/DATE/TIME_LABEL``, such as ``BASE/20251231/235959_rabi``.

    Attributes:
        USE_LOCAL_TIME: Whether dates and times are those of the time zone of this computer; else UTC. Where clocks
            are set back in autumn, an hour comes twice in local time.
        basedir: The folder.

    Args:
        basedir: The folder; it must exist.

    Raises:
        FileNotFoundError: If there is no such folder.
    """

    USE_LOCAL_TIME = True

    def __init__(self, basedir: str | os.PathLike[str]) -> None:
        self.basedir: str = os.fspath(basedir)
        if not os.path.isdir(self.basedir):
            raise FileNotFoundError(f"there is no folder {self.basedir!r} for a DataStore; make it first")

    def __repr__(self) -> str:
        return f"DataStore({self.basedir!r})"

    def _path(self, label: str, date_str: str, time_str: str) -> str:
        return os.path.join(self.basedir, date_str, f"{time_str}_{label}")

    def make_folder(
        self,
        label: str,
        timestamp: float | None = None,
        date_str: str | None = None,
        time_str: str | None = None,
    ) -> DataFolder:
        """Make a new folder. Of several programs that make the same one, exactly one gets it.

        Args:
            label: What kind of measurement it is; a part of the name of the folder.
            timestamp: Time of the folder in seconds since 1970, now if nothing is given.
            date_str: Date of the folder instead, such as "20251231"; with a time of day.
            time_str: Time of day, such as "235959".

        Raises:
            ValueError: If the label is no file name, or the times do not fit or are none.
            FileExistsError: If there is such a folder.
            OSError: If it cannot be made.
        """
        check_label(label)
        date_str, time_str = self._times(timestamp, date_str, time_str)
        path = self._path(label, date_str, time_str)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            os.mkdir(path)
        except FileExistsError:
            raise FileExistsError(f"the folder {path!r} exists already; take another label or time") from None
        return DataFolder(path, label, date_str, time_str)

    def _times(self, timestamp: float | None, date_str: str | None, time_str: str | None) -> tuple[str, str]:
        if date_str is not None or time_str is not None:
            if timestamp is not None:
                raise ValueError("give either timestamp, or date_str and time_str")
            if date_str is None or time_str is None:
                raise ValueError(f"give both date_str and time_str, got {date_str!r} and {time_str!r}")
            return (
                check_time("date_str", date_str, "%Y%m%d", "20251231"),
                check_time("time_str", time_str, "%H%M%S", "235959"),
            )
        try:
            seconds = time.time() if timestamp is None else timestamp
            when = time.localtime(seconds) if self.USE_LOCAL_TIME else time.gmtime(seconds)
        except (ValueError, OverflowError, OSError):
            raise ValueError(f"timestamp must be seconds since 1970, got {timestamp!r}") from None
        if not 0 <= when.tm_year <= 9999:
            raise ValueError(f"timestamp must be seconds since 1970, got {timestamp!r}: the year {when.tm_year}")
        date = f"{when.tm_year:04}{when.tm_mon:02}{when.tm_mday:02}"
        return date, f"{when.tm_hour:02}{when.tm_min:02}{when.tm_sec:02}"

    def get_folder(self, label: str, date_str: str, time_str: str) -> DataFolder:
        """Open a folder.

        Args:
            label: Its label.
            date_str: Its date, such as "20251231".
            time_str: Its time of day, such as "235959".

        Raises:
            FileNotFoundError: If there is no such folder.
        """
        named = is_label(label) and _DATE.fullmatch(date_str) and _FOLDER.fullmatch(f"{time_str}_{label}")
        if not named:
            raise FileNotFoundError(f"no folder can have label {label!r}, date {date_str!r} and time {time_str!r}")
        return DataFolder(self._path(label, date_str, time_str), label, date_str, time_str)

    def get_folder_from_path(self, path: str | os.PathLike[str]) -> DataFolder:
        """Open a folder by its path.

        Args:
            path: An absolute path, or one that begins in the folder of this store, or else in the current folder.

        Raises:
            FileNotFoundError: If there is no such folder.
        """
        path = os.fspath(path)
        found = os.path.join(self.basedir, path)
        if not os.path.isdir(found):
            found = os.path.abspath(path)
        if not os.path.isdir(found):
            raise FileNotFoundError(f"there is no folder {path!r}, neither in {self.basedir!r} nor here")
        date, name = os.path.split(os.path.relpath(found, self.basedir))
        named = _FOLDER.fullmatch(name)
        if named and _DATE.fullmatch(date):
            return DataFolder(found, named[2], date, named[1])
        return DataFolder(found)

    def list_folders(self, label: str | None = None) -> list[DataFolder]:
        """The folders of the store, the oldest first. This takes a while if there are many.

        Args:
            label: Only those with this label.
        """
        folders: list[DataFolder] = []
        for date in self._dates():
            folders += self._of_date(date, label)
        return folders

    def find_latest_folder(self, label: str, date_str: str | None = None) -> DataFolder | None:
        """The latest folder with a label, or None.

        Args:
            label: The label.
            date_str: Only of this date.
        """
        dates = [date for date in self._dates() if date_str in (None, date)]
        for date in reversed(dates):
            folders = self._of_date(date, label)
            if folders:
                return folders[-1]
        return None

    def _dates(self) -> list[str]:
        return sorted(name for name in os.listdir(self.basedir) if _DATE.fullmatch(name))

    def _of_date(self, date: str, label: str | None) -> list[DataFolder]:
        folders = []
        try:
            entries = sorted(os.scandir(os.path.join(self.basedir, date)), key=lambda entry: entry.name)
        except (NotADirectoryError, FileNotFoundError):
            return []  # a file of that name, or removed meanwhile
        for entry in entries:
            named = _FOLDER.fullmatch(entry.name)
            if named and label in (None, named[2]) and entry.is_dir():
                folders.append(DataFolder(entry.path, named[2], date, named[1]))
        return folders
