"""What notebooks show: all text escaped, whatever a value does when it is asked for its text."""

from __future__ import annotations

import pytest

from qmi import html
from tests.support.html_pages import HOSTILE, read


class Broken:
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize("text", HOSTILE)
def test_html_escapes_texts_wherever_they_stand(text: str) -> None:
    shown = html.card(text, text, [html.mark(text, html.GOOD), text], [html.table((text, "x"), [(text, text)])])
    found = read(shown)
    assert html.text_of(text) in "".join(found.texts)


def test_html_shows_values_that_cannot_be_shown() -> None:
    assert "Broken that cannot be shown: RuntimeError" in "".join(read(html.table(("x",), [(Broken(),)])).texts)
    assert "Broken that cannot be shown" in html.shown_or(lambda: str(1 / 0), Broken())


def test_html_opens_long_tables_later() -> None:
    found = read(html.table(("name",), [(f"row {number}",) for number in range(200)]))
    assert "160 more" in found.texts
    assert {f"row {number}" for number in range(200)} <= set(found.texts)


@pytest.mark.parametrize(("done", "total", "width"), [(0, 10, "0.0%"), (5, 10, "50.0%"), (12, 10, "100.0%")])
def test_html_bar_stays_within_its_ends(done: float, total: float, width: str) -> None:
    assert f"width:{width}" in html.bar(done, total)


@pytest.mark.parametrize("total", [None, 0, -1, float("nan")])
def test_html_bar_of_unknown_length_is_nothing(total: float | None) -> None:
    assert html.bar(1, total) == ""
