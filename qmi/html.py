"""What notebooks show of objects: tables and cards as HTML, for light and dark themes alike.

No colour of text or background is set, so that those of the theme hold; lines and marks are of middle brightness. All
styles are written where they hold, since notebooks take style sheets away from what they do not trust. Text is escaped
here, and nowhere else; whatever a value does when it is asked for its text, that is shown as a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

LONGEST: Final = 200
"""As many characters of a text are shown."""
SHOWN_ROWS: Final = 40
"""As many rows of a table are shown at once; the others can be opened."""

GOOD: Final = "#2da44e"
BAD: Final = "#e5534b"
BUSY: Final = "#bf8700"
DIM: Final = "#848d97"
BLUE: Final = "#4493f8"

_CELL: Final = (
    "padding:2px 12px 2px 0;text-align:left;vertical-align:top;border:0;max-width:40em;overflow-wrap:break-word"
)
_RIGHT: Final = _CELL.replace("text-align:left", "text-align:right")
_TABLE: Final = "color:inherit;border-collapse:collapse;border:0;margin:4px 0 0;font-size:13px"
_HEAD: Final = "font-weight:600;opacity:.65;white-space:nowrap"
_FRAME: Final = (
    "display:inline-block;border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:8px 12px;margin:2px 0;"
    "font-family:sans-serif;font-size:13px;line-height:1.45;max-width:100%"
)


class Html(str):
    """A text that is HTML already."""

    __slots__ = ()


def text_of(value: object, show: Callable[[object], str] = str) -> str:
    """A value as a text that can be shown, whatever it is: one line or a few, not too long, without control characters.

    Args:
        value: The value.
        show: Makes a text of it.
    """
    try:
        text = str(show(value))
    except Exception as error:  # noqa: BLE001 - of a user's class: what is shown must not fail for it
        text = f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
    if not text.isprintable():
        text = "".join(
            letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text
        )
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _escaped(text: str) -> str:
    from html import escape  # it brings a large table, and each program has this module

    return escape(text)


def inline(value: object) -> Html:
    """A value within a line or a cell; None is nothing."""
    if isinstance(value, Html):
        return value
    return Html("" if value is None else _escaped(text_of(value)).replace("\n", "<br>"))


def mark(text: str, colour: str) -> Html:
    """A text behind a dot of a colour."""
    return Html(f'<span style="white-space:nowrap"><span style="color:{colour}">●</span> {inline(text)}</span>')


def dim(text: object) -> Html:
    """A text that is less important."""
    return Html(f'<span style="opacity:.65">{inline(text)}</span>')


def table(
    heads: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = (), shown: int = SHOWN_ROWS
) -> Html:
    """A table; of a long one the rest can be opened.

    Args:
        heads: What the columns are called.
        rows: The cells.
        right: The columns of numbers.
        shown: As many rows are shown at once.
    """
    all_rows = list(rows)
    text = _table(heads, all_rows[:shown], right)
    rest = all_rows[shown:]
    if rest:
        more = f"<summary>{len(rest)} more</summary>"
        text += f'<details style="margin-top:4px">{more}{_table(heads, rest, right)}</details>'
    return Html(text)


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str]) -> str:
    styles = [_RIGHT if head in right else _CELL for head in heads]
    head = "".join(
        f'<th style="{style};{_HEAD}">{inline(name)}</th>' for name, style in zip(heads, styles, strict=True)
    )
    body = "".join(f'<tr style="background:none">{"".join(_cells(row, styles))}</tr>' for row in rows)
    top = f'<thead style="border:0"><tr style="background:none">{head}</tr></thead>' if any(heads) else ""
    return f'<table style="{_TABLE}">{top}<tbody>{body}</tbody></table>'


def _cells(row: Sequence[object], styles: Sequence[str]) -> Iterable[str]:
    for cell, style in zip(row, styles, strict=True):
        yield f'<td style="{style}">{inline(cell)}</td>'


def card(title: str, subtitle: str = "", marks: Iterable[object] = (), body: Iterable[Html] = ()) -> Html:
    """Something with a title, what is to be said of it, and tables.

    Args:
        title: What it is called.
        subtitle: What it is.
        marks: What is said of it, side by side.
        body: What stands below.
    """
    head = f"<b>{inline(title)}</b>" + (f" &nbsp;{dim(subtitle)}" if subtitle else "")
    said = " &nbsp; ".join(text for text in map(inline, marks) if text)
    parts = [f"<div>{head}</div>", *([f"<div>{said}</div>"] if said else []), *body]
    return Html(f'<div style="{_FRAME}">{"".join(parts)}</div>')


def bar(done: float, total: float | None) -> Html:
    """How far something is, as a bar; nothing if it is not known how long it is."""
    if not total or not total > 0:
        return Html("")
    share = min(max(done / total, 0.0), 1.0)
    shape = "border-radius:4px;height:8px"
    inner = f'<div style="background:{BLUE};width:{share:.1%};{shape}"></div>'
    return Html(
        f'<div style="background:rgba(128,128,128,.3);width:300px;max-width:100%;margin:4px 0;{shape}">{inner}</div>'
    )


def shown_or(make: Callable[[], str], instead: object) -> str:
    """HTML that is made now; if that fails, the text of the object: a display must not fail.

    Args:
        make: Makes it.
        instead: The object.
    """
    try:
        return make()
    except Exception:  # noqa: BLE001 - of whatever was to be shown
        return f"<pre>{_escaped(text_of(instead, repr))}</pre>"
