"""What the README shows works as shown."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.desk import ANYTHING, Desk, follow
from tests.support.tutorial import Session, Step

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SESSIONS = [block for block in BLOCKS if block.startswith(">>>")]


def read(block: str) -> Session:
    steps: list[Step] = []
    for number, line in enumerate(block.splitlines(), README[: README.index(block)].count("\n") + 1):
        if line.startswith(">>> "):
            steps.append(Step(number, (line[4:],)))
        else:
            steps[-1] = Step(steps[-1].line, steps[-1].source, (*steps[-1].printed, line))
    return Session(tuple(steps))


@pytest.mark.parametrize("block", SESSIONS)
def test_sessions_print_what_is_shown(block: str, home: Path) -> None:
    with Desk(home) as desk:
        prompt = desk.prompt()
        follow(prompt, read(block), {"show_instruments()": ANYTHING})
        assert prompt.leave()[0] == 0


def test_the_readme_is_one_screen_with_a_session() -> None:
    assert len(SESSIONS) == len(BLOCKS) >= 1
    assert len(README.splitlines()) <= 70


@pytest.mark.parametrize("target", re.findall(r"^    make (\S+)", README, re.MULTILINE))
def test_commands_exist(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize("module", re.findall(r"^    python -m (qmi\S+)", README, re.MULTILINE))
def test_modules_to_run_exist(module: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.loader is not None
    assert "__main__" in (importlib.util.decode_source(Path(str(spec.origin)).read_bytes()))


@pytest.mark.parametrize("path", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_links_lead_somewhere(path: str) -> None:
    assert (ROOT / path).exists()
