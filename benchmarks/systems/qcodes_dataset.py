"""The dataset of QCoDeS, with each row written to its database before the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.systems.base import Recording, System


class _Rows(Recording):
    def __init__(self, saver: Any, columns: list[str]) -> None:
        self._saver = saver
        self._columns = columns

    def add(self, row: list[float]) -> None:
        self._saver.add_result(*zip(self._columns, row, strict=True))
        self._saver.flush_data_to_database()


class QCodes(System):
    """QCoDeS."""

    module = "qcodes"

    @contextmanager
    def recording(self, variant: str, columns: list[str]) -> Iterator[Recording]:
        """A run of a measurement."""
        from qcodes.dataset import Measurement, initialise_or_create_database_at, load_or_create_experiment

        initialise_or_create_database_at(Path.cwd() / "rows.db")
        measurement = Measurement(exp=load_or_create_experiment("bench", "rows"))
        for name in columns:
            measurement.register_custom_parameter(name, paramtype="numeric")
        with redirect_stdout(StringIO()), measurement.run() as saver:
            yield _Rows(saver, columns)


SYSTEM = QCodes()
