"""How the demonstration shows things: lines, bars and pictures in a terminal of any width, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TypeVar

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from qmi.tools.picture import draw

T = TypeVar("T")

MOST_COLUMNS = 100
PICTURE_HEIGHT = 12


class Stage:
    """Where a demonstration is shown.

    Args:
        file: Where it goes; None is standard output.
        width: Of the terminal, in characters; None finds out.
    """

    def __init__(self, file: IO[str] | None = None, width: int | None = None) -> None:
        self._console = Console(file=file, width=width, highlight=False, soft_wrap=False)

    @property
    def is_live(self) -> bool:
        """Whether somebody watches at a terminal, where pictures can move."""
        return self._console.is_terminal

    @property
    def _fine(self) -> bool:
        return self._console.encoding.lower().startswith("utf")

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self._console.print()
        self._console.print(Rule(self._text(text, "bold"), characters="─" if self._fine else "-"))

    def say(self, text: str) -> None:
        """Explain something."""
        self._console.print(self._text(text))

    def code(self, source: str) -> None:
        """Show what is run."""
        if self.is_live:
            self._console.print(Syntax(source, "python", theme="ansi_dark", background_color="default", word_wrap=True))
        else:
            self._console.print(Text("\n".join(f"  {line}" for line in source.splitlines())))

    def result(self, text: str) -> None:
        """Show what that gave."""
        self._console.print(self._text(text, "green"))

    def address(self, url: str) -> None:
        """Show an address to open, in one piece, so that it can be clicked or copied."""
        self._console.print(self._text(url, "bold underline"), soft_wrap=True)

    def refusal(self, error: BaseException) -> None:
        """Show an error that was to be expected."""
        self.refusal_text(f"{type(error).__module__}.{type(error).__qualname__}: {error}")

    def refusal_text(self, text: str) -> None:
        """Show an error that somebody else got, and that was to be expected."""
        self._console.print(self._text(text, "yellow"))

    def failure(self, text: str) -> None:
        """Show that something went wrong, or was broken off."""
        self._console.print(self._text(text, "bold red"))

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Show a table."""
        table = Table(*header, box=SIMPLE if self._fine else None, header_style="bold")
        for row in rows:
            table.add_row(*map(str, row))
        self._console.print(table)

    def each(self, things: Sequence[T], what: str) -> Iterator[T]:
        """Go through things with a progress bar.

        Args:
            things: What to go through.
            what: What is done, for the bar.
        """
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn())
        with Progress(*columns, console=self._console, disable=not self.is_live) as progress:
            yield from progress.track(things, description=what)
        if not self.is_live:
            self._console.print(Text(f"{what}: {len(things)} of {len(things)}"))

    def picture(self, values: Sequence[float], limits: tuple[float, float] | None = None) -> None:
        """Show values as a picture."""
        self._console.print(self._drawn(values, limits))

    @contextmanager
    def live_picture(self, limits: tuple[float, float] | None = None) -> Iterator[Callable[[Sequence[float]], None]]:
        """A picture that changes: the function that this gives shows new values. Elsewhere only the last are shown."""
        last: Sequence[float] = ()

        def show(values: Sequence[float]) -> None:
            nonlocal last
            last = values
            if live is not None:
                live.update(self._drawn(values, limits))

        live = Live(console=self._console, refresh_per_second=20) if self.is_live else None
        if live is None:
            yield show
            self.picture(last, limits)
        else:
            with live:
                yield show

    def _text(self, text: str, style: str = "") -> Text:
        # A question mark is better than no demonstration.
        return Text(text if self._fine else text.encode("ascii", "replace").decode(), style=style)

    def _drawn(self, values: Sequence[float], limits: tuple[float, float] | None) -> Text:
        width = max(min(self._console.width, MOST_COLUMNS), 16)
        lines = draw(values, width, PICTURE_HEIGHT, limits=limits, fine=self._fine)
        return Text("\n".join(lines), style="cyan", no_wrap=True)
