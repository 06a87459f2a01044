"""Which interpreter runs a system: this library's own, upstream's, or that of the other libraries.

They are made when they are missing, beside this library's ``.venv``; upstream has the same import name, so that the
two cannot share one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
UPSTREAM = ROOT / ".venv-upstream"
PEERS = ROOT / ".venv-peers"
QCODES = ROOT / ".venv-qcodes"

_NEEDS = {
    UPSTREAM: ("qmi", "numpy"),
    PEERS: ("Pyro5", "rpyc", "pykka", "numpy"),
    QCODES: ("qcodes", "numpy"),
}
_HOME = {
    "upstream": UPSTREAM,
    "pykka_actors": PEERS,
    "pyro5": PEERS,
    "rpyc_service": PEERS,
    "qcodes_dataset": QCODES,
}


@cache
def interpreter(system: str) -> str:
    """The Python that runs a system; its environment is made first if need be.

    Raises:
        CalledProcessError: If it cannot be made.
    """
    place = _HOME.get(system)
    if place is None:
        return sys.executable
    python = place / "bin" / "python"
    complete = place / ".complete"
    if not complete.exists():
        print(f"Making {place.name} with {', '.join(_NEEDS[place])}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_NEEDS[place]]
        subprocess.run(install, check=True)
        complete.touch()
    return str(python)


def versions(systems: Iterable[str]) -> dict[str, str]:
    """What is measured: distribution names and their versions."""
    code = (
        "import importlib.metadata as m\n"
        "for n in ('qmi-trio', 'trio', 'qmi', 'Pyro5', 'rpyc', 'pykka', 'numpy', 'qcodes'):\n"
        "    try: print(n, m.version(n))\n"
        "    except m.PackageNotFoundError: pass\n"
    )
    found: dict[str, str] = {}
    for python in {interpreter(system) for system in systems}:
        lines = subprocess.run([python, "-P", "-c", code], capture_output=True, text=True, check=True).stdout
        for line in lines.splitlines():
            name, version = line.split()
            found[name] = version
    return dict(sorted(found.items()))
