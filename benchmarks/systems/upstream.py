"""Upstream QMI, from the package registry, in an environment of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.systems.base import Recording
from benchmarks.systems.qmi_script import QmiScript


class _Rows(Recording):
    """Rows of its HDF5 recorder.

    Args:
        path: The file.
        each: Whether each row is in the file when it was added.
    """

    def __init__(self, path: Path, each: bool) -> None:
        self._path = str(path)
        self._each = each
        self._recorder: Any = None if each else self._open()

    def _open(self) -> Any:
        from qmi.data.hdf5recorder import HDF5Recorder

        return HDF5Recorder(self._path, keep_open=not self._each)

    def add(self, row: list[float]) -> None:
        import numpy

        recorder = self._open() if self._each else self._recorder
        recorder.record("rows", numpy.array(row))
        if self._each:
            recorder.close()

    def make_safe(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None


class Upstream(QmiScript):
    """Upstream QMI."""

    @contextmanager
    def recording(self, variant: str, columns: list[str]) -> Iterator[Recording]:
        """Its HDF5 recorder."""
        rows = _Rows(Path.cwd() / "rows.h5", each=variant == "each")
        try:
            yield rows
        finally:
            rows.make_safe()


SYSTEM = Upstream()
