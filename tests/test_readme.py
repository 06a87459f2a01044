"""What the README shows works as shown."""

from __future__ import annotations

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
SCRIPTS = [block for block in BLOCKS if not block.startswith(">>>")]


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


@pytest.mark.parametrize("block", SCRIPTS)
def test_scripts_run(block: str, home: Path) -> None:
    with Desk(home) as desk:
        desk.write("script.py", block)
        run = desk.run("python3 script.py")
    assert (run.returncode, run.stderr) == (0, "")
    assert re.search(r"-?\d+\.\d+", run.stdout)


def test_the_readme_shows_a_session_a_script_and_a_trio_program() -> None:
    assert len(SESSIONS) >= 1
    assert any("start_stop" in block for block in SCRIPTS)
    assert any("trio.run(main)" in block for block in SCRIPTS)


@pytest.mark.parametrize("target", re.findall(r"^    make (\S+)", README, re.MULTILINE))
def test_commands_exist(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize("path", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_links_lead_somewhere(path: str) -> None:
    assert (ROOT / path).exists()
