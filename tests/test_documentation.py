"""The reference has a page for every public name, and blocks of pages are compared as meant."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.pages import matches

DOCS = Path(__file__).parents[1] / "docs"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("public_api", DOCS / "_ext" / "public_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["public_api"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


public_api = load()


@pytest.mark.parametrize("module", public_api.public_modules())
def test_public_names_have_a_page(module: str) -> None:
    page = public_api.page_of(module)
    for name in public_api.names_of(module):
        home = public_api.home_of(name)
        if name.full in public_api.DESCRIBED_ELSEWHERE:
            continue
        if home == module:
            assert f".. auto{name.kind}:: {name.name}\n" in page
        else:
            assert f"<{home}.{name.name}>`" in page
            assert f".. auto{name.kind}:: {name.name}\n" in public_api.page_of(home)


@pytest.mark.parametrize("module", public_api.public_modules())
def test_public_names_have_a_docstring(module: str) -> None:
    loaded = importlib.import_module(module)
    assert loaded.__doc__
    bare = [
        name.name
        for name in public_api.own_names(module)
        if name.kind != "data" and not getattr(loaded, name.name).__doc__
    ]
    assert bare == []


def test_public_names_that_are_described_nowhere_are_found() -> None:
    described = {name.full for module in public_api.public_modules() for name in public_api.own_names(module)}
    assert public_api.undescribed(described) == []
    assert public_api.undescribed(described - {"qmi.start"}) == ["qmi.start"]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("", "", True),
        ("", "1", False),
        ("18.02603", "-7.5e-05", True),
        ("2.5", "2.6", False),
        ("amplitude = 47.3513", "amplitude = 0.1", True),
        ("a\nb", "a\nb", True),
        ("a\n...\nb", "a\nx\ny\nb", True),
        ("a\n...", "a", True),
        ("...\nb", "x\nb", True),
        ("...\nb", "xb", False),
        ("lock_... granted", "lock_17 granted", True),
        ("lock_... granted", "lock_17\n granted", False),
        ("2021-11-30 14:50:55.786 | WARNING", "2026-01-02 03:04:05.678 | WARNING", True),
        ("name   address", "name          address", True),
        ("Traceback (most recent call last):\n  ...\nE: no", "Traceback (most recent call last):\n  File\nE: no", True),
        (
            "Traceback (most recent call last):\n  ...\nE: no",
            "Traceback (most recent call last):\n  File\nE: yes",
            False,
        ),
    ],
)
def test_expectation_of_a_page_tells_what_may_differ(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same


def test_python_blocks_of_all_pages_are_run() -> None:
    text = (DOCS / "conftest.py").read_text("utf-8")
    (excluded,) = re.findall(r"^RUN_ELSEWHERE = (.*)$", text, re.MULTILINE)
    assert excluded == '["values.md"]'
