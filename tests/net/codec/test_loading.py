"""The library's own types arrive as themselves in a program that only did ``import qmi``."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import qmi.core
from qmi.core.driver import Reading, Snapshot
from qmi.net.codec import Codec
from qmi.net.codec.loading import OWN_MODULES
from tests.support.bare_decoder import BareDecoder

CODEC = Codec()
MODULES = [f"qmi.core.{found.name}" for found in pkgutil.iter_modules(qmi.core.__path__)]


def public_types() -> list[type]:
    found: dict[str, type] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and value.__name__[0] != "_"
                and value.__module__.startswith("qmi.")
                and _travels(value)
            ):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return list(found.values())


def _travels(cls: type) -> bool:
    return (
        (issubclass(cls, Exception))
        or (issubclass(cls, enum.Enum) and bool(list(cls)))
        or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
        or (dataclasses.is_dataclass(cls) and cls.__init__ is not object.__init__)
    )


def sample(cls: Any) -> Any:
    if issubclass(cls, enum.Enum):
        return next(iter(cls))
    if issubclass(cls, Exception):
        return cls("what happened")
    if issubclass(cls, tuple):
        return tuple.__new__(cls, [0] * len(cls._fields))
    if cls is Snapshot:  # which says no to anything else
        return Snapshot("lab.psu", "drivers.Supply", 0.0, {"voltage": Reading(1.0, "V", 0.0)}, {"current": "not read"})
    made = object.__new__(cls)
    for field in dataclasses.fields(cls):
        object.__setattr__(made, field.name, 0)
    return made


@pytest.fixture(scope="module")
def bare() -> Iterator[BareDecoder]:
    decoder = BareDecoder("import qmi")
    yield decoder
    decoder.close()


@pytest.mark.parametrize("cls", public_types(), ids=lambda cls: f"{cls.__module__}.{cls.__qualname__}")
def test_own_type_arrives_as_itself_where_only_qmi_was_imported(bare: BareDecoder, cls: type) -> None:
    encoded = CODEC.encode([sample(cls)])
    answer = bare.decode(encoded.payload, encoded.segments)
    assert answer.outcome == "value", answer.text
    assert answer.types == ["list", f"{cls.__module__}.{cls.__qualname__}"], answer.text


def test_own_types_exist() -> None:
    assert len(public_types()) > 40


@pytest.mark.parametrize(
    "name", ["os", "antigravity", "qmi.proc.launch", "qmi.core.no_such", "qmi", "tests.net.codec.test_codec", ""]
)
def test_name_that_comes_imports_no_other_module(name: str) -> None:
    assert name not in OWN_MODULES
