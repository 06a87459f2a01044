"""Runs as a prompt and a notebook show them: a table."""

from __future__ import annotations

from typing import Final, SupportsIndex, overload

from qmi import html
from qmi.data.run_index import RunInfo

_HEADS: Final = ("run", "started", "state", "rows", "tags", "comment")
_SHOWN: Final = 50
_LONGEST: Final = 40


class RunList(list[RunInfo]):
    """A list of runs, oldest first, which is shown as a table; times of it are in local time."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> RunInfo: ...
    @overload
    def __getitem__(self, index: slice) -> RunList: ...
    def __getitem__(self, index: SupportsIndex | slice) -> RunInfo | RunList:
        if isinstance(index, slice):
            return RunList(super().__getitem__(index))
        return super().__getitem__(index)

    def __repr__(self) -> str:
        if not self:
            return "no runs"
        table = [list(_HEADS), *self._cells()]
        widths = [max(len(row[column]) for row in table) for column in range(len(_HEADS))]
        lines = []
        for row in table:
            cells = [
                cell.rjust(width) if head == "rows" else cell.ljust(width)
                for head, cell, width in zip(_HEADS, row, widths, strict=True)
            ]
            lines.append("  ".join(cells).rstrip())
        if len(self) > _SHOWN:
            lines.insert(1, f"... {len(self) - _SHOWN:,} before")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return html.shown_or(self._as_html, self)

    def _as_html(self) -> str:
        if not self:
            return html.card("no runs")
        left_out = [html.dim(f"{len(self) - _SHOWN:,} before")] if len(self) > _SHOWN else []
        table = html.table(_HEADS, self._cells(), right=("rows",), shown=_SHOWN)
        return html.card(f"{len(self):,} run{'s' * (len(self) != 1)}", marks=left_out, body=[table])

    def _cells(self) -> list[list[str]]:
        """The cells of the last rows."""
        return [
            [
                info.run_id,
                f"{info.started.astimezone():%Y-%m-%d %H:%M:%S}",
                info.state,
                "" if info.state == "running" else str(info.rows),
                _short(", ".join(info.tags)),
                _short(info.comment),
            ]
            for info in list(self)[-_SHOWN:]
        ]


def _short(text: str) -> str:
    lines = text.splitlines()
    first = "".join(letter if letter.isprintable() else " " for letter in lines[0]) if lines else ""
    return first if len(first) <= _LONGEST and len(lines) < 2 else f"{first[: _LONGEST - 3]}..."
