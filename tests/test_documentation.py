"""The reference has a page for every public name, and blocks of pages are compared as meant."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Document

from tests.support.pages import Page, matches, parse

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


def test_public_modules_are_listed_once() -> None:
    listed = [line.strip() for line in public_api.table_of_modules().splitlines() if line.startswith("   qmi")]
    assert sorted(listed) == sorted(public_api.public_modules())


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


PAGES = sorted(path for path in DOCS.rglob("*.md") if not path.is_relative_to(DOCS / "_build"))
# Blocks that are no text to type or read: pictures, and what Sphinx makes something of.
DIRECTIVES = re.compile(r"mermaid|\{(?!code-block)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_blocks_that_are_not_run_say_why(page: Path) -> None:
    if page.name == "values.md":  # tests/test_values_page.py runs its blocks
        return
    text = page.read_text("utf-8")
    run = {example.line for example in Document.parse(str(page), parse).examples()}
    silent: list[str] = []
    inside = ""
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"(?:: )?\s*(`{3,}|:{3,})(.*)", line)
        if inside:
            inside = "" if fence and fence[1] == inside and not fence[2] else inside
        elif fence:
            inside = fence[1]
            if number not in run and not DIRECTIVES.match(fence[2]):
                silent.append(f"{page.name}:{number}: {line}")
        elif re.match(r"<!--(?! *invisible-code)", line):
            silent.clear()  # says why, before or after the blocks of its section
        elif line.startswith("#") and silent:
            break
    assert silent == []


NOT_PROSE = re.compile(r"^(`{3,}|:{3,}).*?^\1$|<!--.*?-->|`[^`\n]*`", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_can_be_followed_in_the_sources(page: Path) -> None:
    text = NOT_PROSE.sub("code", page.read_text("utf-8"))
    links = re.findall(r"\[([^][]*)\]\((?!https?:|#)([^)#\s]+)[^)]*\)", text)
    assert [target for label, target in links if not label or not (page.parent / target).exists()] == []


COMMANDS = (DOCS / "reference" / "commands.md").read_text("utf-8")


TOOLS = DOCS.parent / "qmi" / "tools"


@pytest.mark.parametrize(
    "path", sorted([*TOOLS.glob("*.py"), *TOOLS.glob("*/cli.py")]), ids=lambda path: path.relative_to(TOOLS).as_posix()
)
def test_commands_are_described(path: Path) -> None:
    if "ArgumentParser(" in path.read_text("utf-8"):
        module = path.parent.stem if path.stem == "cli" else path.stem
        name = "qmi_proc" if module == "proc" else f"python3 -m qmi.tools.{module}"
        assert f"$ {name} --help\n" in COMMANDS


def test_environment_variables_are_described() -> None:
    package = DOCS.parent / "qmi"
    used = {name for path in package.rglob("*.py") for name in re.findall(r'"(QMI_[A-Z]+)"', path.read_text("utf-8"))}
    assert {name for name in used if f"`{name}`" not in COMMANDS} == set()


@pytest.mark.parametrize(("heading", "is_there"), [("What is the same", True), ("What is not here", False)])
def test_page_for_those_who_come_from_qmi_names_modules_as_they_are(heading: str, is_there: bool) -> None:
    page = (DOCS / "coming-from-qmi.md").read_text(encoding="utf-8")
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0].partition("**Parameters**")[0]
    before = "qmi"
    for name in re.findall(r"`((?:qmi)?\.\w+[\w.]*|qmi\.\w+)`", section):
        full = f"{before}{name}" if name.startswith(".") else name
        before = full.rpartition(".")[0] if full.count(".") > 1 else full
        assert (importlib.util.find_spec(full) is not None) is is_there, full


SLOW_TO_END = """
import pathlib, time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.3)
    pathlib.Path("ended").touch()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_of_a_page_waits_for_the_end_of_the_program() -> None:
    page = Page(DOCS / "index.md")
    try:
        page.save(SLOW_TO_END, "slow.py")
        page.commands("$ python3 slow.py\nready\n", 2)
        page.commands("^C\n", 2)
        assert (page.home / "ended").exists()
    finally:
        page.close()
