"""Rows: what was measured at one time, as those who measure and those who follow a run get it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any


class Row(Mapping[str, Any]):
    """The values of one row: ``row["T"]`` or ``row.T``.

    A column that is called ``number`` or ``time`` is reached with brackets alone.

    Args:
        values: The values by the names of the columns.
        number: The number of the row.
        time: When it was measured; None for now.

    Attributes:
        number: The number of the row; the first one is 0.
        time: When it was measured, in UTC.
    """

    __slots__ = ("_values", "number", "time")

    def __init__(self, values: Mapping[str, Any], number: int = 0, time: datetime | None = None) -> None:
        self._values = dict(values)
        self.number: int = number
        self.time: datetime = datetime.now(UTC) if time is None else time

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        if name in Row.__slots__:  # of a row that is not made yet, as while it is unpickled
            raise AttributeError(name)
        if name in self._values:
            return self._values[name]
        raise AttributeError(f"The row has no column {name!r}; it has {', '.join(self._values)}", name=name, obj=self)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._values]

    def __repr__(self) -> str:
        return f"Row({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"

    def __reduce__(self) -> tuple[type[Row], tuple[dict[str, Any], int, datetime]]:
        return type(self), (self._values, self.number, self.time)
