"""The settings of a task in the API: what their class says of them, and that they are read by its types."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pytest
import trio

from qmi.actors.context_object import ContextObject
from qmi.actors.tasks.settings_fields import fields_of
from qmi.config.loader import load_config
from qmi.contexts.async_context import Context
from qmi.contexts.default import open_context
from qmi.core.task import QMI_Task
from qmi.names import Address
from qmi.net.codec.unknown import NamedKind, make_unknown
from qmi.presenting.annotation_types import foreign_type
from qmi.presenting.call_arguments import WrongArgument
from qmi.web.api_tasks import merged
from qmi.web.options import Options
from tests.support.programs import Program
from tests.support.web import Web, web_and_lab, web_of

OVEN = "/api/tasks/lab/oven/settings"


class Mode(Enum):
    """How it heats."""

    SLOW = "slow"
    FAST = "fast"


@dataclass
class Base:
    """What all have.

    Args:
        enabled (bool): Whether it heats
            at all.
    """

    enabled: bool = True


@dataclass
class Oven(Base):
    """What the oven is told.

    Attributes:
        target: The temperature to hold.
        limit: The greatest power:
            more than that melts it.
        mode: How it heats.

    Raises:
        ValueError: This is no field.
    """

    target: Annotated[float, "K"] = 300
    limit: float | None = field(default=None, metadata={"unit": "W"})
    mode: Mode = Mode.SLOW
    ramp: Literal["up", "down"] = "up"
    steps: list[int] = field(default_factory=list)
    note: str = field(default="", metadata={"doc": "What people read."})
    twice: float = field(default=600.0, init=False)

    def __post_init__(self) -> None:
        if self.target < 0:
            raise ValueError("target must not be below absolute zero")
        self.twice = 2 * self.target


class Pair(NamedTuple):
    """Two numbers.

    Attributes:
        first: The one.
    """

    first: int
    second: float = 1.5


class Heater(QMI_Task[Any, Any]):
    """A task with settings."""

    def __init__(self, runner: Any, name: str, settings: object = None) -> None:
        super().__init__(runner, name)
        self.settings = settings

    def run(self) -> None:
        """Nothing."""


def test_settings_are_described_by_their_class() -> None:
    found = {each.name: (each.type, each.unit, each.doc, each.default, each.choices) for each in fields_of(Oven)}
    assert found == {
        "enabled": ("bool", "", "Whether it heats at all.", "True", ()),
        "target": ("float", "K", "The temperature to hold.", "300", ()),
        "limit": ("float | None", "W", "The greatest power: more than that melts it.", "None", ()),
        "mode": (f"{__name__}.Mode", "", "How it heats.", "SLOW", ("SLOW", "FAST")),
        "ramp": ("Literal['up', 'down']", "", "", "'up'", ("up", "down")),
        "steps": ("list[int]", "", "", "[]", ()),
        "note": ("str", "", "What people read.", "''", ()),
        "twice": ("float", "", "", "600.0", ()),
    }
    assert [each.name for each in fields_of(Oven) if not each.settable] == ["twice"]
    assert [(each.name, each.type, each.doc, each.default) for each in fields_of(Pair)] == [
        ("first", "int", "The one.", ""),
        ("second", "float", "", "1.5"),
    ]


def test_settings_whose_annotations_cannot_be_evaluated_are_described_by_their_text() -> None:
    @dataclass
    class Odd:
        field: "NotHere | None" = None  # type: ignore[name-defined]  # noqa: F821, UP037

    (found,) = fields_of(Odd)
    assert (found.type.strip("'"), found.default) == ("NotHere | None", "None")


@pytest.fixture
async def web(config: Path) -> AsyncIterator[Web]:
    async with web_and_lab(config) as found:
        found.client.headers["authorization"] = f"Bearer {found.token}"
        yield found


async def make(lab: Context, settings: object) -> None:
    await lab.make_task("oven", Heater, settings=settings)


SETTING_IS_READ: list[tuple[str, object, object]] = [
    ("target", 301, 301.0),
    ("target", 300.5, 300.5),  # what it has is a whole number: its type is declared
    ("target", "10 mK", 0.01),
    ("limit", "20 mW", 0.02),
    ("limit", 3, 3.0),
    ("limit", None, None),
    ("mode", "FAST", "FAST"),
    ("mode", "slow", "SLOW"),
    ("ramp", "down", "down"),
    ("steps", [1, 2], [1, 2]),
    ("steps", "[3]", [3]),
    ("note", "5", "5"),
    ("enabled", False, False),
    ("enabled", "on", True),
]

SETTING_IS_REFUSED: list[tuple[str, object, str]] = [
    ("target", "hot", "must be a number in K, got 'hot'"),
    ("target", "3 V", "must be a number in K, got '3 V'"),
    ("target", None, "must be a number"),
    ("target", -1, "target must not be below absolute zero"),
    ("limit", "much", "a number"),
    ("mode", "MEDIUM", "must be SLOW or FAST"),
    ("ramp", "sideways", "must be 'up' or 'down'"),
    ("steps", [1, "x"], "must be a whole number"),
    ("note", 5, "must be a text"),
    ("enabled", "perhaps", "must be on or off"),
    ("twice", 3, "cannot be given"),
    ("taget", 3, "Did you mean 'target'?"),
]


async def test_settings_are_told_with_their_fields_and_read_by_their_types(web: Web) -> None:
    await make(web.lab, Oven())
    told = (await web.client.get(OVEN)).json()
    assert [entry["name"] for entry in told["fields"]] == list(told["settings"])
    for name, value, read in SETTING_IS_READ:
        answer = await web.client.put(OVEN, json={name: value})
        assert (answer.status_code, answer.json()["settings"][name]) == (200, read), (name, value)
    for name, value, message in SETTING_IS_REFUSED:
        answer = await web.client.put(OVEN, json={name: value})
        assert (answer.status_code, answer.json()["error"].get("argument")) == (422, name), (name, value, answer.text)
        assert message in answer.json()["error"]["message"]


SETTINGS_OF_NO_CLASS: list[Any] = [None, 5.0, {"gain": 1.0}, [1, 2]]


@pytest.mark.parametrize("settings", SETTINGS_OF_NO_CLASS)
async def test_settings_of_no_class_have_no_fields(web: Web, settings: object) -> None:
    await make(web.lab, settings)
    assert (await web.client.get(OVEN)).json() == {"settings": settings, "pending": None, "fields": []}
    answer = await web.client.put(OVEN, json={"gain": "2"})
    if isinstance(settings, dict):
        assert answer.json() == {"settings": {"gain": 2.0}}
    else:
        assert (answer.status_code, "have no names" in answer.text) == (409, True)


async def test_settings_of_an_older_program_are_told_without_fields(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(ContextObject, "describe_settings")
    async with web_and_lab(config) as web:
        await make(web.lab, Oven())
        told = (await web.client.get(OVEN)).json()
        assert (told["fields"], told["settings"]["note"]) == ([], "")
        headers = {"authorization": f"Bearer {web.token}"}
        changed = await web.client.put(OVEN, json={"note": "x"}, headers=headers)
        assert changed.json()["settings"]["note"] == "x"


def test_settings_of_a_class_that_is_not_here_are_read_by_their_description() -> None:
    known = make_unknown(NamedKind.DATACLASS, "oven:Oven", {"target": 300, "mode": "SLOW"})
    fields = {each.name: each for each in fields_of(Oven)}
    where = Address("lab", "oven")

    def change(**changes: object) -> Any:
        return merged(known, changes, where, fields, lambda name: foreign_type("oven", name.rpartition(".")[2]))

    assert change(target="10 mK").fields["target"] == 0.01
    assert change(mode="fast").fields["mode"].fields["name"] == "FAST"
    for name, value in (("target", "hot"), ("mode", "MEDIUM"), ("mode", 3)):
        with pytest.raises(WrongArgument):
            change(**{name: value})


PROGRAM = """
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, NamedTuple
from qmi.core.task import QMI_Task

class Heating:
    class Mode(Enum):
        SLOW = "slow"
        FAST = "fast"

@dataclass
class Oven:
    target: Annotated[float, "K"] = 300
    mode: Heating.Mode = Heating.Mode.SLOW

    def __qmi_check__(self):
        if self.target < 0:
            raise ValueError("that is below absolute zero")

class Pair(NamedTuple):
    first: int = 1
    second: str = "a"

class Heater(QMI_Task):
    def __init__(self, runner, name, settings):
        super().__init__(runner, name)
        self.settings = settings

    def run(self):
        pass

"""

START = """
import sys
sys.path.insert(0, {folder!r})
import qmi
from heating import Heater, Oven, Pair
qmi.start("lab", {config!r}, init_logging=False)
oven = qmi.make_task("oven", Heater, Oven())
pair = qmi.make_task("pair", Heater, Pair())
"""


@pytest.mark.slow
async def test_settings_of_another_program_are_of_its_own_class_when_they_arrive(config: Path) -> None:
    (config.parent / "heating.py").write_text(PROGRAM)
    start = START.format(folder=str(config.parent), config=str(config))
    options = Options(bind="127.0.0.1:0", dashboards=str(config.parent / "boards"))
    with Program() as other:
        await trio.to_thread.run_sync(other.run, start)
        async with (
            open_context("client", config=load_config(str(config)), init_logging=False) as client,
            web_of(config, client, options) as web,
        ):
            web.client.headers["authorization"] = f"Bearer {web.token}"
            told = (await web.client.get(OVEN)).json()
            assert [(each["name"], each["unit"], each["choices"]) for each in told["fields"]] == [
                ("target", "K", []), ("mode", "", ["SLOW", "FAST"]),
            ]  # fmt: skip
            for changes in ({"target": "10 mK"}, {"mode": "fast"}):
                assert (await web.client.put(OVEN, json=changes)).status_code == 200
            refused = await web.client.put(OVEN, json={"target": -1})
            assert refused.status_code in (409, 422), refused.text
            assert "that is below absolute zero" in refused.json()["error"]["message"]
            changed = await web.client.put("/api/tasks/lab/pair/settings", json={"second": "b"})
            assert changed.json() == {"settings": {"first": 1, "second": "b"}}
        ask = "str(oven.get_pending_settings()), str(pair.get_pending_settings())"
        found = await trio.to_thread.run_sync(other.run, ask)
        assert found == ("Oven(target=0.01, mode=<Mode.FAST: 'fast'>)", "Pair(first=1, second='b')")
