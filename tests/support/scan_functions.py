"""Functions of a module, which programs that run scans can import."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

SET_TO: list[object] = []
"""What :func:`set_position` was called with."""
HOOKS: dict[str, Callable[[], object]] = {}
"""What the functions do besides, by their names; for tests of the same program."""
GO_ON = threading.Event()
"""Ends a call of :func:`get_slowly`."""


def _hook(name: str) -> object:
    return HOOKS.get(name, lambda: None)()


def set_position(value: object) -> None:
    """Is set."""
    SET_TO.append(value)
    _hook("set_position")


def get_power() -> float:
    """Is measured."""
    _hook("get_power")
    return 0.5


def get_slowly() -> float:
    """Is measured, and takes its time."""
    GO_ON.wait()
    return 1.0


def halve(rows: list[Any]) -> object:
    """Chooses three points."""
    return None if len(rows) == 3 else 8.0 / 2 ** len(rows)


def switch_off() -> None:
    """Is called at the end."""
    SET_TO.append("off")
    _hook("switch_off")


def is_open(door: object) -> bool:
    """Is a condition."""
    return bool(door)


async def get_later() -> float:
    """Has to be awaited."""
    return 2.0


class Stage:
    """Has functions, too."""

    @staticmethod
    def move(value: object) -> None:
        """Is set."""
        SET_TO.append(value)

    def get_position(self) -> float:
        """Is measured where the object lives."""
        return 0.0


STAGE = Stage()
RENAMED = halve
ALIAS = [lambda: 0.0][0]
