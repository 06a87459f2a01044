from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.core.exceptions import QMI_InvalidValueException, QMI_UsageException
from qmi.net.codec.codec import Codec, UndecodableValue
from qmi.parameters.snapshot import (
    Change,
    Reading,
    Snapshot,
    diff,
    differing,
    kept,
    same_value,
    settings_of,
    show_value,
)

NOON = 1_800_000_000.0


class Mode(Enum):
    SINE = "SIN"
    RAMP = "RAMP"


class Range(IntEnum):
    LOW = 1


class Shape(StrEnum):
    FLAT = "flat"


class Pair(Enum):
    ONE = (1, 2)


def snapshot(**values: object) -> Snapshot:
    return Snapshot(
        "lab.psu", "drivers.Supply", NOON, {name: Reading(value, "", NOON) for name, value in values.items()}
    )


# -- what is kept, and what is the same


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5.0, 5.0),
        (numpy.float64(1.5), 1.5),
        (numpy.float32(1.5), 1.5),
        (numpy.int16(3), 3),
        (numpy.bool_(True), True),
        (True, True),
        (None, None),
        ("x", "x"),
        (numpy.str_("x"), "x"),
        (Mode.SINE, Mode.SINE),
        (Range.LOW, Range.LOW),
        (Shape.FLAT, Shape.FLAT),
    ],
)
def test_value_is_kept_as_a_plain_one(value: object, expected: object) -> None:
    assert kept(value) == expected
    assert type(kept(value)) is type(expected)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (numpy.zeros(3), "a value of type ndarray is no part of a snapshot"),
        (b"x", "a value of type bytes is no part of a snapshot"),
        ([1.0], "a value of type list is no part of a snapshot"),
        (1j, "a value of type complex is no part of a snapshot"),
        ("\udc80", "a text with characters that cannot be sent or saved is no part of a snapshot"),
    ],
)
def test_value_that_cannot_be_kept_is_named(value: object, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        kept(value)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (5.0, 5.0, True),
        (5.0, 5, True),
        (1 / 3, 0.3333333, True),
        (1 / 3, 0.3333, False),
        (0.0, 1e-9, False),
        (math.nan, math.nan, True),
        (math.nan, 1.0, False),
        (math.inf, math.inf, True),
        (math.inf, -math.inf, False),
        (10**20, 10**20 + 1, False),
        (True, 1, False),
        (True, True, True),
        ("1", 1, False),
        (None, None, True),
        (None, 0.0, False),
        (Mode.SINE, Mode.SINE, True),
        (Mode.SINE, Mode.RAMP, False),
        (Mode.SINE, "SIN", True),
        ("SINE", Mode.SINE, True),
        (Mode.SINE, "RAMP", False),
        (Range.LOW, 1, True),
        (Range.LOW, True, False),
        (Shape.FLAT, "flat", True),
        (Pair.ONE, (1, 2), True),
        (Pair.ONE, "ONE", True),
    ],
)
def test_values_are_the_same_as_near_as_devices_tell(one: object, other: object, same: bool) -> None:
    assert same_value(one, other) is same
    assert same_value(other, one) is same


def test_member_of_an_enum_that_is_not_here_is_compared_and_saved() -> None:
    """As a client without the driver gets it."""
    code = "class Mode(Enum):\n    SINE = 'SIN'"
    space: dict[str, Any] = {"Enum": Enum, "__name__": "nowhere_to_be_found"}
    exec(code, space)
    there = snapshot(mode=space["Mode"].SINE)
    here: Any = Codec().decode(*Codec().encode(there, "result"))
    assert type(here["mode"].value) is not space["Mode"]
    assert diff(there, here) == []
    assert here.to_dict() == there.to_dict()
    assert here.to_dict()["readings"]["mode"]["member"] == "SINE"
    assert Snapshot.from_dict(here.to_dict())["mode"].value == "SIN"
    assert "SINE" in repr(here)


# -- snapshots


def test_snapshot_is_a_mapping() -> None:
    shot = snapshot(voltage=5.0, output=True)
    assert shot["voltage"].value == 5.0
    assert list(shot) == ["voltage", "output"]
    assert len(shot) == 2
    assert "voltage" in shot
    assert "power" not in shot
    assert shot == snapshot(voltage=5.0, output=True)
    assert shot != snapshot(voltage=5.5, output=True)


def test_snapshot_says_what_it_has_in_place_of_what_it_lacks() -> None:
    shot = Snapshot("lab.psu", "drivers.Supply", NOON, {"voltage": Reading(5.0)}, {"current": "not read yet"})
    with pytest.raises(KeyError, match=r"the snapshot of lab\.psu has no 'power'; it has voltage"):
        shot["power"]
    with pytest.raises(KeyError, match=r"current has no reading in the snapshot of lab\.psu: not read yet"):
        shot["current"]


def test_snapshot_prints_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.parameters.snapshot._local", lambda moment: datetime.fromtimestamp(moment, UTC))
    shot = Snapshot(
        "lab.psu",
        "drivers.Supply",
        NOON,
        {
            "voltage": Reading(5.0, "V", NOON - 1),
            "channels[1].voltage": Reading(1e-3, "V", NOON - 86400),
            "mode": Reading(Mode.SINE, "", NOON),
            "name": Reading("a\x1b[2J" + "x" * 100, "", NOON),
        },
        {"current": "not read yet\x07"},
    )
    rows = repr(shot).splitlines()
    assert rows[0].startswith("Snapshot of lab.psu (drivers.Supply), 2027-01-15 08:00:00")
    assert [row.split()[:3] for row in rows[1:4]] == [
        ["voltage", "5.0", "V"],
        ["channels[1].voltage", "0.001", "V"],
        ["mode", "SINE", rows[3].split()[-1]],
    ]
    assert rows[1].endswith("07:59:59")
    assert rows[2].endswith("2027-01-14 08:00:00")
    assert "\x1b" not in repr(shot)
    assert rows[4].split()[1].endswith("...")
    assert rows[5] == "  current              (not read yet\\x07)"
    assert repr(snapshot()).endswith("(nothing)")


@pytest.mark.parametrize("moment", [math.nan, 1e300, -1e20])
def test_snapshot_of_an_impossible_time_prints(moment: float) -> None:
    shot = Snapshot("lab.psu", "drivers.Supply", moment, {"voltage": Reading(5.0, "V", moment)})
    assert "5.0 V" in repr(shot)
    shot = Snapshot("lab.psu", "drivers.Supply", moment, {"voltage": Reading(5.0, "V", NOON)})
    assert "5.0 V" in repr(shot)


def test_part_of_a_snapshot_is_selected_by_name_or_pattern() -> None:
    shot = Snapshot(
        "lab.psu",
        "drivers.Supply",
        NOON,
        {
            name: Reading(1.0)
            for name in ("voltage", "channels[1].voltage", "channels[1].current", "channels[2].voltage")
        },
        {"output": "not read yet"},
    )
    assert list(shot.select("channels[1].*")) == ["channels[1].voltage", "channels[1].current"]
    assert list(shot.select("channels[2].voltage", "voltage")) == ["voltage", "channels[2].voltage"]
    assert shot.select("voltage", "output").missing == {"output": "not read yet"}
    assert list(shot.select("*")) == list(shot)
    assert list(shot.without("channels[*].voltage")) == ["voltage", "channels[1].current"]
    assert shot.without("output", "voltage").missing == {}
    assert shot.without() == shot
    with pytest.raises(
        QMI_InvalidValueException, match=r"The snapshot of lab\.psu has no 'volt'; it has voltage, chan"
    ):
        shot.select("volt")
    with pytest.raises(QMI_InvalidValueException, match=r"has no 'outputs'; it has"):
        shot.without("output", "outputs")


def test_snapshot_is_pickled_and_copied() -> None:
    shot = Snapshot("lab.psu", "drivers.Supply", NOON, {"mode": Reading(Mode.SINE, "V", NOON)}, {"current": "no"})
    assert pickle.loads(pickle.dumps(shot)) == copy.deepcopy(shot) == shot


def test_snapshot_travels() -> None:
    shot = Snapshot("lab.psu", "drivers.Supply", NOON, {"mode": Reading(Mode.SINE, "V", NOON)}, {"current": "no"})
    arrived = Codec().decode(*Codec().encode(shot, "result"))
    assert type(arrived) is Snapshot
    assert arrived == shot
    assert (arrived.address, arrived.class_name, arrived.time, arrived.missing) == (
        *(shot.address, shot.class_name, shot.time, shot.missing),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": 1},
        {"class_name": None},
        {"time": "now"},
        {"time": True},
        {"readings": [1]},
        {"readings": {1: Reading(1.0)}},
        {"readings": {"x": 1.0}},
        {"readings": {"x": Reading(1.0, None)}},  # type: ignore[arg-type]
        {"readings": {"x": Reading(1.0, "V", "now")}},  # type: ignore[arg-type]
        {"readings": None},
        {"missing": ["x"]},
        {"missing": {"x": 1}},
    ],
    ids=repr,
)
def test_what_is_no_snapshot_does_not_arrive(wrong: dict[str, Any]) -> None:
    """What a program sends that is not to be believed in anything."""
    given = {"address": "lab.psu", "class_name": "drivers.Supply", "time": NOON, "readings": {}, "missing": {}, **wrong}
    encoded = Codec().encode(Snapshot(**given), "result")
    with pytest.raises(UndecodableValue, match="Snapshot refuses what arrived"):
        Codec().decode(*encoded)


# -- files


def test_snapshot_is_saved_and_read_back(tmp_path: Path) -> None:
    shot = Snapshot(
        "lab.psu",
        "drivers.Supply",
        NOON + 0.123456,
        {
            "voltage": Reading(0.1 + 0.2, "V", NOON + 0.25),
            "count": Reading(10**30, "", NOON),
            "output": Reading(True, "", NOON),
            "label": Reading("µ \n", "", NOON),
            "lost": Reading(math.inf, "Ω", NOON),
            "mode": Reading(Mode.SINE, "", NOON),
            "shape": Reading(Shape.FLAT, "", NOON),
            "range": Reading(Range.LOW, "", NOON),
            "pair": Reading(Pair.ONE, "", NOON),
        },
        {"current": "not read yet"},
    )
    shot.save(tmp_path / "psu.json")
    back = Snapshot.load(str(tmp_path / "psu.json"))
    assert back == shot
    assert (back.address, back.class_name, back.time, back.missing) == (
        *(shot.address, shot.class_name, shot.time, shot.missing),
    )
    assert [type(reading.value) for reading in back.values()] == [type(reading.value) for reading in shot.values()]
    plain = json.loads((tmp_path / "psu.json").read_text("utf-8"))
    assert plain["readings"]["voltage"] == {
        "value": 0.30000000000000004,
        "unit": "V",
        "time": "2027-01-15T08:00:00.250000+00:00",
    }


@given(
    st.one_of(st.floats(), st.integers(), st.booleans(), st.none(), st.text(st.characters(codec="utf-8"))),
    st.floats(0.0, 4e9).map(lambda moment: round(moment, 6)),
)
def test_any_value_is_saved_and_read_back(value: object, moment: float) -> None:
    shot = Snapshot("lab.psu", "drivers.Supply", moment, {"x": Reading(value, "V", moment)})
    back = Snapshot.from_dict(json.loads(json.dumps(shot.to_dict(), allow_nan=False)))
    assert (back.time, back["x"].time, back["x"].unit) == (moment, moment, "V")
    assert diff(shot, back, rel_tol=0.0) == []
    assert type(back["x"].value) is type(value)


GOOD: Mapping[str, Any] = snapshot(voltage=5.0).to_dict()
READING = GOOD["readings"]["voltage"]


@pytest.mark.parametrize(
    ("plain", "fault"),
    [
        ([], "a snapshot must be a JSON object, got []"),
        ({}, "a snapshot lacks format, object, class, time, readings, missing"),
        ({**GOOD, "format": 2}, "a snapshot is written in the format 'qmi-snapshot-1', got 2"),
        ({**GOOD, "more": 1}, "a snapshot has more, which is no part of it"),
        ({**GOOD, "object": 1}, "object must be a text, got 1"),
        ({**GOOD, "time": "noon"}, "time must have a time in ISO 8601, got 'noon'"),
        ({**GOOD, "readings": []}, "readings must be a JSON object, got []"),
        ({**GOOD, "missing": {"x": 1}}, "missing['x'] must be a text, got 1"),
        ({**GOOD, "readings": {"v": 5.0}}, "readings['v'] must be a JSON object, got 5.0"),
        ({**GOOD, "readings": {"v": {}}}, "readings['v'] lacks value, time"),
        (
            {**GOOD, "readings": {"v": {**READING, "value": [1]}}},
            "readings['v']['value'] must be a number, a text, true or false",
        ),
        (
            {**GOOD, "readings": {"v": {**READING, "value": {"float": 3}}}},
            "readings['v']['value'] must be a number, a text, true or false",
        ),
        ({**GOOD, "readings": {"v": {**READING, "unit": 3}}}, "readings['v']['unit'] must be a text, got 3"),
        ({**GOOD, "readings": {"v": {**READING, "enum": "a:B"}}}, "readings['v']['member'] must be a text, got None"),
        ({**GOOD, "readings": {"v": {**READING, "time": 3}}}, "readings['v'] must have a time in ISO 8601, got 3"),
    ],
)
def test_what_is_no_snapshot_is_refused_with_the_place(plain: object, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps(plain))
    with pytest.raises(QMI_InvalidValueException) as caught:
        Snapshot.load(file)
    assert str(caught.value) == f"There is no snapshot in {file}: {fault}"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_file_without_json_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(QMI_InvalidValueException, match=r"There is no snapshot in .*x\.json"):
        Snapshot.load(file)


# -- changes


def test_diff_tells_what_changed() -> None:
    before = {"voltage": Reading(5.0, "V"), "mode": Reading(Mode.SINE), "same": Reading(1.0), "gone": Reading(2, "A")}
    after = {"new": Reading("x"), "same": Reading(1.0, "", 9.0), "mode": Reading("RAMP"), "voltage": Reading(3.0, "V")}
    changes = diff(before, after)
    assert changes == [
        Change("voltage", 5.0, 3.0, "V"),
        Change("mode", Mode.SINE, "RAMP"),
        Change("gone", 2, None, "A"),
        Change("new", None, "x"),
    ]
    assert [str(change) for change in changes] == [
        "voltage: 5.0 V -> 3.0 V",
        "mode: SINE -> 'RAMP'",
        "gone: 2 A -> ?",
        "new: ? -> 'x'",
    ]


@pytest.mark.parametrize(
    ("value", "kind"),
    [(numpy.arange(3.0), "ndarray"), (b"abc", "bytes"), (1j, "complex"), ([1, 2], "list"), ({"float": "nan"}, "dict")],
)
def test_file_has_no_place_for_arrays_and_the_error_says_what_to_do(value: object, kind: str, tmp_path: Path) -> None:
    snapshot = Snapshot("lab.x", "acme.X", 0.0, {"trace": Reading(value), "gain": Reading(1)})
    for save in (snapshot.to_dict, lambda: snapshot.save(tmp_path / "x.json")):
        with pytest.raises(
            QMI_InvalidValueException, match=rf"^trace of lab\.x cannot be kept .* no {kind}\. Keep snap"
        ):
            save()
    assert not (tmp_path / "x.json").exists()
    snapshot.without("trace").save(tmp_path / "x.json")
    assert list(Snapshot.load(tmp_path / "x.json")) == ["gain"]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (numpy.arange(3.0), True),
        (numpy.arange(4.0), False),
        (numpy.arange(3.0) + 1, False),
        (numpy.zeros((3, 1)), False),
        ([0.0, 1.0, 2.0], False),
        (0.0, False),
    ],
)
def test_diff_compares_arrays_item_by_item(other: object, same: bool) -> None:
    one = Snapshot("lab.x", "acme.X", 0.0, {"trace": Reading(numpy.arange(3.0))})
    two = Snapshot("lab.x", "acme.X", 0.0, {"trace": Reading(other)})
    assert (diff(one, two) == []) is same
    assert (diff(two, one) == []) is same


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("psu.json", "{} is the name of a file: give Snapshot.load('psu.json')"),
        (Path("psu.json"), "{} is the name of a file: give Snapshot.load('psu.json')"),
        ({"gain": 1}, "{}['gain'] is 1: give Reading(1)"),
        (3, "{} is 3"),
    ],
)
def test_diff_of_what_is_no_snapshot_says_what_to_give(wrong: Any, said: str) -> None:
    snapshot = Snapshot("lab.x", "acme.X", 0.0, {"gain": Reading(1)})
    for name, given_ in (("before", (wrong, snapshot)), ("after", (snapshot, wrong))):
        with pytest.raises(QMI_UsageException) as caught:
            diff(*given_)
        assert f"diff() takes two snapshots, and {said.format(name)}" in str(caught.value)


def test_diff_tells_another_unit() -> None:
    assert [str(change) for change in diff({"v": Reading(5.0, "V")}, {"v": Reading(5.0, "mV")})] == [
        "v: '5.0 V' -> '5.0 mV'"
    ]


def test_diff_compares_as_near_as_it_is_told() -> None:
    before, after = snapshot(x=1.0), snapshot(x=1.0000001)
    assert diff(before, after) == []
    assert len(diff(before, after, rel_tol=0.0)) == 1
    assert diff(before, snapshot(x=1.01), rel_tol=0.1) == []


# -- restoring


UNITS = {"limit": "V", "voltage": "V", "current": "A"}
KNOWN = [*UNITS, "power"]


def test_restore_sets_what_differs_in_the_declared_order() -> None:
    wanted = {
        "current": Reading(2.0, "A"),
        "power": Reading(3.0, "W"),
        "voltage": Reading(5.0, "V"),
        "limit": Reading(30.0, "V"),
    }
    settings = settings_of(wanted, UNITS, KNOWN)
    assert list(settings.items()) == [("limit", 30.0), ("voltage", 5.0), ("current", 2.0)]
    assert differing(settings, {"limit": 10.0, "voltage": 5.0}, UNITS) == [
        Change("limit", 10.0, 30.0, "V"),
        Change("current", None, 2.0, "A"),
    ]


def test_restore_takes_plain_values() -> None:
    assert settings_of({"voltage": 5.0}, UNITS, KNOWN) == {"voltage": 5.0}


@pytest.mark.parametrize(
    ("wanted", "fault"),
    [
        (
            {"voltage": Reading(1.0, "V"), "wavelength": Reading(1.0, "nm"), "gain": Reading(2)},
            (
                "there is no wavelength, gain to be restored: the object has limit, voltage, current, power. "
                "A part of a snapshot is restored with snapshot.select(...)"
            ),
        ),
        ({"power": 3.0}, "power can only be read"),
        (
            {5: 1.0, None: 1.0},
            (
                "there is no 5, None to be restored: the object has limit, voltage, current, power. "
                "A part of a snapshot is restored with snapshot.select(...)"
            ),
        ),
        (
            {"voltage": Reading(1.0, "mV"), "limit": Reading(1.0), "current": Reading(1.0, "A")},
            "limit is in V here, and in no unit in the snapshot; voltage is in V here, and in mV in the snapshot",
        ),
    ],
)
def test_restore_of_what_does_not_fit_is_refused(wanted: Any, fault: str) -> None:
    with pytest.raises(QMI_InvalidValueException) as caught:
        settings_of(wanted, UNITS, KNOWN)
    assert str(caught.value) == fault


def test_long_values_are_shown_in_brief() -> None:
    assert show_value("x" * 100) == "'" + "x" * 36 + "..."
