"""Writing runs to files of other programs: comma-separated values, Zarr, MATLAB."""

from __future__ import annotations

import csv
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qmi.data import run_file, run_log
from qmi.data.archive import load
from qmi.data.run_details import copy_so_far
from qmi.data.run_folder import RunFolder
from qmi.data.run_index import RunInfo
from qmi.data.whole_files import place, temporary_file
from qmi.errors import QMI_InvalidValueException, QMI_MissingLibraryException, QMI_RecordingException

if TYPE_CHECKING:
    import xarray

_logger = logging.getLogger("qmi.data")

_RUNNING: Final = "running"
_PART_ROWS: Final = 10_000
_SUFFIXES: Final = {".csv": "csv", ".zarr": "zarr", ".mat": "matlab"}
_LIBRARIES: Final = {"zarr": "zarr", "matlab": "scipy"}
_MARKS_OF_ZARR: Final = (".zgroup", "zarr.json")


def export(
    run: str | RunInfo,
    file: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - what users call it
    overwrite: bool = False,
    context: str | None = None,
    folder: str | Path | None = None,
) -> Path:
    """Write a run to a file of another program: comma-separated values, Zarr or MATLAB.

    - ``"csv"`` (``.csv``): a row a line. The heads of the columns are names with units, such as ``T [K]``; each element
      of an array has a column of its own. Times are in UTC.
    - ``"zarr"`` (``.zarr``, a folder): all that :func:`load` gives, with units and attributes;
      ``xarray.open_zarr(file)`` reads it. It is of version 2 of the format, which all libraries read.
    - ``"matlab"`` (``.mat``): what ``load`` of MATLAB and of Octave reads. Each column is a variable whose first
      dimension is the row: texts are cells, truth values logical, times UTC as ``datenum`` (with the nanoseconds since
      1970 as ``NAME_ns`` beside them, which are exact). ``units`` and ``info`` are structures with the units, and with
      the attributes of the run.

    Of a run that still lasts, the rows so far are written; a warning in the log says so, and the attribute ``state`` is
    "running", where there are attributes. Whatever goes wrong, there is afterwards either all of the file or what was
    there before.

    Args:
        run: The id of a run; or a name, for the latest run of that name; or an entry of :func:`runs`.
        file: The file.
        format: "csv", "zarr" or "matlab"; None goes by the end of the file's name.
        overwrite: Whether a file of that name is replaced.
        context: The context that has recorded it; as for :func:`load`.
        folder: Where the runs are; as for :func:`run`.

    Returns:
        The file.

    Raises:
        QMI_InvalidValueException: If it is no such format, or the run does not go into it.
        QMI_MissingLibraryException: If a library of ``qmi-trio[zarr]`` or ``qmi-trio[matlab]`` is not installed.
        QMI_UnknownNameException: If there is no such run.
        QMI_RecordingException: If it cannot be read or written, such as where there is a file of that name.
    """
    path, lasting = export_so_far(run, file, format=format, overwrite=overwrite, context=context, folder=folder)
    if lasting:
        _logger.warning("Run %s still lasts: %s has its rows so far", lasting, path)
    return path


def export_so_far(
    run: str | RunInfo,
    file: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - as above
    overwrite: bool = False,
    context: str | None = None,
    folder: str | Path | None = None,
) -> tuple[Path, str]:
    """The same for who tells the user in another way; returns the file, and the id of the run if it still lasts."""
    path = Path(file).expanduser().absolute()
    kind = _format_of(path, format)
    _check_library(kind)
    _check_free(path, kind, overwrite)
    data = _read(run, context, folder)
    try:
        _WRITERS[kind](data, path, overwrite)
    except OSError as error:
        reason = "there is such a file already" if isinstance(error, FileExistsError) else error.strerror or error
        raise QMI_RecordingException(f"{path} cannot be written: {reason}") from error
    return path, str(data.attrs["run_id"]) if data.attrs.get("state") == _RUNNING else ""


def _read(run: str | RunInfo, context: str | None, folder: str | Path | None) -> xarray.Dataset:
    """What there is of a run now."""
    name = run
    if isinstance(run, RunInfo):
        name = run.run_id
        if context is None:
            folder = run.file.parents[1] if folder is None else folder  # which is the folder of the runs
            if not RunFolder(folder).log_of(run.run_id).exists():
                return load(run)
    if not isinstance(name, str):
        raise QMI_InvalidValueException(f"run must be the id or the name of a run, got {run!r}")
    with tempfile.TemporaryDirectory(prefix="qmi-run-", ignore_cleanup_errors=True) as temporary:
        found = copy_so_far(name, Path(temporary), context=context, folder=folder)
        if not found.name.endswith(run_log.ENDING):
            return run_file.read(found)
        so_far = Path(temporary, f"so_far{run_file.ENDING}")
        has_ended = run_file.build(found, so_far)["state"] != "interrupted"  # just now: its log says it already
        data = run_file.read(so_far)
        return data if has_ended else data.assign_attrs(state=_RUNNING)


def csv_of_file(source: Path, file: Path) -> None:
    """Write the file of a run as comma-separated values, as :func:`export` does.

    Args:
        source: The file of the run.
        file: The file to write, which is not there yet.

    Raises:
        QMI_RecordingException: If it cannot be read.
        OSError: If it cannot be written.
    """
    _write_csv(run_file.read(source), file, overwrite=False)


def _format_of(path: Path, wanted: object) -> str:
    if wanted is not None:
        if not isinstance(wanted, str) or wanted not in _WRITERS:
            raise QMI_InvalidValueException(f"format must be one of {', '.join(map(repr, _WRITERS))}, got {wanted!r}")
        return wanted
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        endings = ", ".join(map(repr, _SUFFIXES))
        raise QMI_InvalidValueException(
            f"file must end with one of {endings}, got {path.name!r}; or say format={', '.join(map(repr, _WRITERS))}"
        )
    return kind


def _check_library(kind: str) -> None:
    name = _LIBRARIES.get(kind)
    if name is not None and name not in sys.modules and find_spec(name) is None:
        raise QMI_MissingLibraryException(
            f"Export to {kind} needs the Python package {name!r}, which is not installed: "
            f"pip install 'qmi-trio[{kind}]'"
        )


def _check_free(path: Path, kind: str, overwrite: bool) -> None:
    """Refuse to replace what is not to be replaced, before seconds are spent on reading the run."""
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise QMI_RecordingException(f"There is {path} already: give another name, or overwrite=True to replace it")
    if path.is_dir() and (kind != "zarr" or not any((path / mark).exists() for mark in _MARKS_OF_ZARR)):
        raise QMI_RecordingException(f"{path} is a folder that no export has made, and is not replaced")


# -- comma-separated values


def _write_csv(data: xarray.Dataset, path: Path, overwrite: bool) -> None:
    with temporary_file(path) as temporary:
        with open(temporary, "x", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows(_lines(data))
        place(temporary, path, overwrite=overwrite)


def _lines(data: xarray.Dataset) -> Iterator[list[object]]:
    names = [name for name, variable in data.variables.items() if variable.dims[:1] == (run_file.ROW,)]
    names.sort(key=lambda name: name not in data.coords)
    head: list[object] = []
    for name in names:
        variable = data.variables[name]
        unit = variable.attrs.get("units", variable.attrs.get("unit", ""))
        unit = f" [{unit}]" if unit else ""
        head += [f"{name}{index}{unit}" for index in _indices(variable.shape[1:])]
    yield head
    for at in range(0, data.sizes[run_file.ROW], _PART_ROWS):
        parts = [_as_texts(data.variables[name][at : at + _PART_ROWS].values) for name in names]
        for rows in zip(*parts, strict=True):
            yield [value for row in rows for value in row]


def _indices(shape: tuple[int, ...]) -> list[str]:
    found = [""]
    for length in shape:
        found = [f"{index}[{n}]" for index in found for n in range(length)]
    return found


def _as_texts(values: Any) -> list[list[object]]:
    import numpy

    if values.dtype.kind == "M":
        values = values.astype(str)
    if values.dtype.kind == "O":  # texts, or integers of which some are missing
        values = numpy.where(values == None, "nan", values)  # noqa: E711 - of each element
    return [list(row) for row in values.reshape(len(values), -1).tolist()]


# -- Zarr


def _write_zarr(data: xarray.Dataset, path: Path, overwrite: bool) -> None:
    plain = data.drop_encoding()
    for name, variable in plain.variables.items():
        if (fill := run_file.fill_of(data.variables[name])) is not None:
            variable.encoding = {"_FillValue": fill}
        if variable.dtype.kind == "M":
            variable.encoding = {"units": run_file.TIME_UNITS, "dtype": "int64"}
    part = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.part")
    try:
        plain.to_zarr(part, mode="w-", zarr_format=2, consolidated=True)
        _place_folder(part, path, overwrite)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _place_folder(part: Path, path: Path, overwrite: bool) -> None:
    """Give a folder its name; what has it is taken away only when the new one is whole."""
    former = part.with_suffix(".old")
    if overwrite and os.path.lexists(path):
        os.rename(path, former)
    try:
        if os.path.lexists(path):
            raise FileExistsError(17, "there is such a file already", str(path))
        os.rename(part, path)
    except OSError:
        if os.path.lexists(former):
            os.rename(former, path)
        raise
    if former.is_dir() and not former.is_symlink():
        shutil.rmtree(former, ignore_errors=True)
    else:
        former.unlink(missing_ok=True)


# -- MATLAB


def _write_matlab(data: xarray.Dataset, path: Path, overwrite: bool) -> None:
    from scipy.io import savemat

    from qmi.data.export_matlab import variables_of

    variables = variables_of(data)
    with temporary_file(path) as temporary:
        with open(temporary, "xb") as opened:
            savemat(opened, variables, long_field_names=True, oned_as="column")
        place(temporary, path, overwrite=overwrite)


_WRITERS: Final[dict[str, Callable[[xarray.Dataset, Path, bool], None]]] = {
    "csv": _write_csv,
    "zarr": _write_zarr,
    "matlab": _write_matlab,
}
