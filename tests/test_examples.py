"""The programs in ``examples``: each is started as a reader would start it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(
    path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if path.suffix in {".py", ".ipynb"}
)
LIMIT = 30.0
"""How long anything may take, in seconds; nothing does unless something is broken."""


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the directory, with ports of its own."""
    copy = tmp_path / "examples"
    shutil.copytree(EXAMPLES, copy, ignore=shutil.ignore_patterns("__pycache__", "*.pem", "*.key"))
    for path in copy.rglob("qmi.conf"):
        text = re.sub(r"3000\d", lambda _: str(free_port()), path.read_text())
        discovery = (
            f'"discovery": {{"port": {free_port(socket.SOCK_DGRAM)}, "broadcast_addresses": ["127.255.255.255"]}}'
        )
        path.write_text(f"{text.rstrip().removesuffix('}')},{discovery}}}")
    return copy


def run(directory: Path, *arguments: str) -> str:
    """Run a program to its end, which must be a good one, and return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@contextmanager
def serving(directory: Path, *arguments: str) -> Iterator[None]:
    """Have a server run for the length of a block; it is stopped by Ctrl-C."""
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready; press Ctrl-C to stop\n"
            yield
            process.send_signal(signal.SIGINT)
            printed, errors = process.communicate(timeout=LIMIT)
        except BaseException:
            process.kill()
            raise
        assert printed == "stopped\n"
        # A busy machine keeps a loop from being on time, which is logged.
        assert [line for line in errors.splitlines() if "missed" not in line] == []
        assert process.returncode == 0


@pytest.mark.slow
def test_client_measures_with_the_instrument_of_the_server(examples: Path) -> None:
    with serving(examples, "server.py"):
        for _ in range(2):  # what one run leaves behind does not disturb the next
            assert re.fullmatch(
                r"1000 samples, mean -?\d+\.\d\d, standard deviation \d+\.\d\d\n", run(examples, "client.py")
            )


@pytest.mark.slow
def test_service_holds_what_it_is_told_and_publishes_it(examples: Path) -> None:
    with serving(examples, "-m", "service"):
        printed = run(examples, "watch.py", "45")
    *temperatures, statistics = printed.splitlines()
    assert len(temperatures) == 5
    assert float(temperatures[-1].split()[0]) > 30.0  # on a busy machine it swings
    assert re.fullmatch(r"\d+ iterations, \d+ missed, median lateness \d+ µs", statistics)


@pytest.mark.slow
def test_service_is_started_and_stopped_by_qmi_proc(examples: Path) -> None:
    command = ("-m", "qmi.tools.proc", "--config", "qmi.conf")
    assert run(examples, *command, "start", "oven_service").startswith("oven_service: STARTED")
    try:
        assert len(run(examples, "watch.py").splitlines()) == 6
    finally:
        assert run(examples, *command, "stop", "oven_service").startswith("oven_service: STOPPED")


@pytest.mark.slow
def test_laboratory_comes_up_from_the_file_alone(examples: Path) -> None:
    command = ("-m", "qmi.tools.proc", "--config", "qmi.conf")
    assert run(examples, "-m", "qmi.tools.serve", "--config", "qmi.conf", "--check", "laboratory") == (
        "laboratory: 3 classes found, and their arguments fit\n"
    )
    assert run(examples, *command, "start", "laboratory").startswith("laboratory: STARTED")
    try:
        assert run(examples, *command, "restart", "laboratory.meter") == "laboratory.meter: STARTED\n"
        assert run(examples, *command, "status", "laboratory").startswith("laboratory: RUNNING")
    finally:
        assert run(examples, *command, "stop", "laboratory").startswith("laboratory: STOPPED")


@pytest.mark.slow
def test_secure_client_and_server_prove_who_they_are(examples: Path) -> None:
    directory = examples / "secure"
    commands = re.findall(
        r"^    python (-m qmi\.tools\.certs .+)$", (directory / "server.py").read_text(), re.MULTILINE
    )
    assert len(commands) == 3
    for command in commands:
        run(directory, *command.split())
    with serving(directory, "server.py"):
        assert re.fullmatch(r"a sample over TLS: -?\d+\.\d\d\n", run(directory, "client.py"))


def test_trio_program_measures_and_gives_up(examples: Path) -> None:
    printed = run(examples, "trio_program.py").splitlines()
    assert len([line for line in printed if re.fullmatch(r"\d+ photons", line)]) == 3
    assert len([line for line in printed if re.fullmatch(r"100 samples from -?\d+\.\d to -?\d+\.\d", line)]) == 1
    assert printed[-1] == "given up"


@pytest.mark.slow
def test_notebook_runs_from_top_to_bottom(examples: Path) -> None:
    from tests.support.notebook import Notebook

    cells: list[dict[str, Any]] = json.loads((examples / "notebook.ipynb").read_text())["cells"]
    notebook = Notebook(examples)
    try:
        outputs = []
        for cell in cells:
            if cell["cell_type"] == "code":
                output, error = notebook.run("".join(cell["source"]))
                assert error == "", cell
                outputs.append(output)
    finally:
        notebook.close()
    assert outputs == [
        "QMI_context(name='notebook')\n",
        (
            "<rpc proxy for notebook.nsg (qmi.instruments.dummy.noisy_sine_generator.NoisySineGenerator)>\n"
            "  open, idle, not locked\n"
        ),
        outputs[2],
        "3\n",
        "",
        "True\n",
        "",
    ]
    assert len(outputs[2].splitlines()) == 20


def test_notebook_is_saved_without_results() -> None:
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"]
    assert all(cell.get("outputs", []) == [] for cell in cells)


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_is_listed_with_what_it_shows(program: str) -> None:
    assert f"`{program}`" in (EXAMPLES / "README.md").read_text()


def test_each_program_is_run_here() -> None:
    tested = {"server.py", "client.py", "oven.py", "service.py", "watch.py", "trio_program.py", "notebook.ipynb"}
    assert set(PROGRAMS) == tested | {"secure/server.py", "secure/client.py"}
