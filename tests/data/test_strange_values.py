"""What a column does with values that no one expects, and a run with texts that no file can have."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pytest

import qmi.data
from qmi.core.exceptions import QMI_InvalidValueException
from qmi.data import run_metadata
from qmi.data.column_values import encoded

NAN = float("nan")


def both_of(folder: Path, *values: object) -> tuple[Any, list[Any]]:
    """The column of a run in its file, and its values as a follower gets them."""
    with qmi.data.run("values", {"x": "V"}, folder=folder) as run:
        for value in values:
            run.add(x=value)
    return qmi.data.load(run.run_id, folder=folder).x, [row["x"] for row in qmi.data.follow(run.run_id, folder=folder)]


def nat() -> Any:
    import pandas as pd

    return pd.NaT


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (numpy.datetime64("5000-01-01"), "from 1678 to 2261, got 5000"),
        (numpy.datetime64("1600-01-01T00:00:00", "us"), "from 1678 to 2261, got 1600"),
        (numpy.array(["2026-01-01", "3000-01-01"], "M8[D]"), "from 1678 to 2261, got 3000"),
        (numpy.array(["0001-01-01", "NaT"], "M8[s]"), "from 1678 to 2261, got 0001"),
        (timedelta(days=1), "give a duration as a number"),
        (numpy.timedelta64(1, "s"), "give a duration as a number"),
        (numpy.array([1, 2], "m8[s]"), "durations as numbers"),
        ([1, "a"], "all of one kind.*int, str"),
        ((2.5, "a"), "all of one kind"),
        ([True, "a"], "all of one kind"),
        ([1.0, None], r"with None in it: float\('nan'\)"),
        (["a", None], "with None in it"),
        (numpy.array([1, "a"], object), "all of one kind"),
        ([Decimal(1)], "all of one kind.*Decimal"),
        ([1 << 64, 1], "at most 64 bits"),
        (numpy.zeros((1,) * 32), "at most 31 dimensions, got 32"),
        ([[1], [1, 2]], "equally long"),
        (numpy.ma.array(["a", "b"], mask=[True, False]), "masked"),
        (date(2026, 1, 1), "datetime"),
    ],
)
def test_value_that_would_be_another_one_in_the_file_is_refused(value: object, message: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=f"(?s)column x must be.*{message}"):
        encoded(value, "column x")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (numpy.ma.array([1.0, 2.0], mask=[True, False]), [NAN, 2.0]),
        (numpy.ma.array([1, 2], mask=[True, False]), [NAN, 2.0]),
        (numpy.ma.array([1, 2]), [1, 2]),
        (numpy.array([1.0, 2], object), [1.0, 2.0]),
        (numpy.array([True, False], object), [True, False]),
        (numpy.zeros((1,) * 31), numpy.zeros((1,) * 31)),
        ([numpy.str_("a"), "bc"], ["a", "bc"]),
        (numpy.arange(10.0)[::-3], [9.0, 6.0, 3.0, 0.0]),
        (numpy.arange(3, dtype=">i2"), [0, 1, 2]),
    ],
)
def test_array_is_kept_as_it_is_meant(folder: Path, value: object, expected: object) -> None:
    stored, rows = both_of(folder, value)
    numpy.testing.assert_array_equal(stored.values[0], expected)
    numpy.testing.assert_array_equal(rows[0], expected)


def test_masked_complex_numbers_and_times_are_kept_as_none_of_them(folder: Path) -> None:
    numbers = numpy.ma.array([1 + 2j, 3j], mask=[False, True])
    times = numpy.ma.array(numpy.array(["2026-01-01", "2026-01-02"], "M8[s]"), mask=[True, False])
    assert numpy.isnan(both_of(folder, numbers)[0].values).tolist() == [[False, True]]
    assert numpy.isnat(both_of(folder, times)[0].values).tolist() == [[True, False]]


@pytest.mark.parametrize("make", [lambda: numpy.ma.masked, lambda: numpy.datetime64("NaT"), nat])
def test_value_that_is_none_of_its_kind_is_no_value(folder: Path, make: Any) -> None:
    assert both_of(folder, make())[1] == [None]
    assert both_of(folder, datetime(2026, 1, 1, tzinfo=UTC), make())[1][1] is None


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\0", "ü\udcff"])
def test_texts_that_no_file_can_have_are_kept_as_escapes(folder: Path, text: str, monkeypatch: Any) -> None:
    """Such as names of files that are not UTF-8, or what a device answered, in an exception."""
    monkeypatch.setattr(run_metadata, "of_program", lambda context: {"script": {"path": text}})
    escaped = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    run = qmi.data.run("texts", ["x"], comment=text, metadata={text: [text]}, folder=folder)
    with suppress(ValueError), run:
        run.add(x=1)
        run.comment(text)
        raise ValueError(text)
    data = qmi.data.load("texts", folder=folder)
    metadata = json.loads(data.attrs["qmi_metadata"])
    assert data.attrs["comment"] == f"{escaped}\n{escaped}"
    assert metadata["end"]["error"] == f"ValueError: {escaped}"
    assert metadata["user_metadata"] == {escaped: [escaped]}
    assert metadata["script"] == {"path": escaped}
    assert qmi.data.runs(folder=folder)[0].comment == data.attrs["comment"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": ["x", "x"]}, "columns must have different names, got 'x' twice"),
        ({"columns": [["x"]]}, "the name of a column must be a text"),
        ({"coordinates": None}, "coordinates must be a list"),
        ({"coordinates": [["x"]]}, "coordinates must be columns"),
        ({"axes": ["x"]}, "axes must be {"),
        ({"axes": {"x": ["d"]}}, "axes of x must be as in"),
        ({"axes": {"x": {"d": [1, 2]}}}, "axis 'd' of x must be its unit and its values"),
        ({"axes": {"x": {"d": ("s", 1, 2)}}}, "axis 'd' of x must be its unit and its values"),
        ({"tags": 3}, "tags must be texts, got 3"),
        ({"comment": None}, "comment must be a text, got None"),
        ({"folder": 3}, "folder must be the path of a folder, got 3"),
        ({"folder": "a\0b"}, "folder must be the path of a folder"),
        ({"folder": ""}, "folder must be the path of a folder"),
    ],
)
def test_arguments_that_will_not_do_are_named(folder: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=message):
        qmi.data.run("values", **{"columns": ["x", "y"], "folder": folder, **arguments})


def test_one_coordinate_needs_no_list(folder: Path) -> None:
    with qmi.data.run("values", ["bias", "y"], coordinates="bias", folder=folder) as run:
        run.add(bias=1, y=2)
    assert "bias" in qmi.data.load(run.run_id, folder=folder).coords
