"""Whether every public name of the package has a type that all type checkers agree on.

Usage: ``python -m tests.verify_types``

basedpyright calls a type ambiguous if it is not written down but inferred. A driver declares its parameters by
``voltage = parameter("VOLT", float)``: what that returns is the type, and nobody is to write it twice. So drivers and
their simulators, and what is derived from them, may have inferred types; nothing else may.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

DECLARES = ("qmi.instruments.", "qmi.tools.demo_loop.", "qmi.tools.demo_programs.")


def report() -> dict[str, Any]:
    """What basedpyright says of the package."""
    root = Path(__file__).parents[1]
    command = [str(Path(sys.executable).with_name("basedpyright")), "--pythonpath", sys.executable]
    run = subprocess.run(
        [*command, "--verifytypes", "qmi", "--ignoreexternal", "--outputjson"],
        cwd=root,
        # It looks for other packages nowhere else: their classes would be of no type that it knows.
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join([str(root), sysconfig.get_path("purelib")])},
        capture_output=True,
        text=True,
    )
    if not run.stdout:
        raise SystemExit(run.stderr)
    found: dict[str, Any] = json.loads(run.stdout)["typeCompleteness"]
    return found


def faults(found: dict[str, Any]) -> list[str]:
    """The names whose type is not known, or inferred where it is to be written."""
    lines = []
    for symbol in found["symbols"]:
        inferred = symbol["isTypeAmbiguous"] and symbol["name"].startswith(DECLARES)
        if symbol["isTypeKnown"] or inferred:
            continue
        why = [diagnostic["message"] for diagnostic in symbol["diagnostics"] if diagnostic["severity"] == "error"]
        lines.append(f"{symbol['name']}: {'; '.join(why) or 'of a type that is not known'}")
    return lines


if __name__ == "__main__":
    wrong = faults(found := report())
    print(*wrong, sep="\n", end="\n" if wrong else "")
    if not found["symbols"]:
        raise SystemExit("no names were found")
    print(f"{len(found['symbols'])} names, {len(wrong)} of them without a type that all type checkers agree on")
    raise SystemExit(bool(wrong))
