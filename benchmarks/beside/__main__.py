"""How upstream QMI and this library behave in the same experiments; upstream is only looked at from outside.

    python -m benchmarks.beside [experiment ...]

Needs root: each experiment gets a network namespace of its own, so that nothing leaves the machine. Upstream comes
from PyPI into ``.venv-upstream``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
UPSTREAM = ROOT / ".venv-upstream"
TIMEOUT = 60.0
NETWORK = (  # an interface that leads nowhere, so that broadcasts have somewhere to go
    "ip link set lo up; ip link add nowhere type veth peer name end; ip link set nowhere up; ip link set end up; "
    "ip addr add 10.99.0.1/24 broadcast 10.99.0.255 dev nowhere; ip route add default dev nowhere"
)


def main(names: list[str]) -> None:
    """Run the experiments with both and print what was seen."""
    if not (UPSTREAM / "bin" / "python").exists():
        venv.create(UPSTREAM, with_pip=True)
        subprocess.run([UPSTREAM / "bin" / "python", "-m", "pip", "install", "-q", "qmi", "psutil"], check=True)
    table = Table("experiment", "upstream", "this library", show_lines=True)
    for name in names or experiments():
        row = [run(python, name) for python in (UPSTREAM / "bin" / "python", Path(sys.executable))]
        table.add_row(name.replace("_", " "), *row)
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def experiments() -> list[str]:
    """The names of all experiments; they can be imported only where psutil and a library are."""
    text = (Path(__file__).parent / "experiments.py").read_text()
    return [
        name for name in text.partition("EXPERIMENTS")[2].partition(")")[0].replace(",", " ").split() if "_" in name
    ]


def run(python: Path, name: str) -> str:
    """Run one experiment with one library; what it saw."""
    script = Path(__file__).parent / "experiments.py"
    command = ["unshare", "--net", "--fork", "--kill-child", "sh", "-c", f'{NETWORK}; exec "$@"', "sh"]
    try:
        done = subprocess.run(
            [*command, python, script, name],
            capture_output=True, text=True, timeout=TIMEOUT, cwd=script.parent,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"the experiment itself did not end within {TIMEOUT:g} s"
    lines = done.stdout.strip().splitlines()
    if not lines:
        return "failed: " + (done.stderr.strip().splitlines() or ["no output"])[-1]
    return str(json.loads(lines[-1]))


if __name__ == "__main__":
    main(sys.argv[1:])
