"""How ``make faults`` runs every test of the fault table, and every slow test, and shows what came out.

python -m tests.faults [--rows 1,3] [arguments of pytest]
"""

from __future__ import annotations

import argparse
import sys

import pytest
from rich.console import Console

from tests.faults.results import Results, table


def main(arguments: list[str]) -> int:
    """Return 0 if every row has a test and none failed, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rows", default="", help="numbers of rows, with commas between; without it, all")
    options, further = parser.parse_known_args(arguments)
    rows = {int(number) for number in options.rows.split(",") if number}
    results = Results(rows)
    # "-m ''" takes back the default, which leaves slow tests out.
    code = pytest.main(["-m", "", "-q", "--no-header", "-r", "fE", *further], plugins=[results])
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table(results))
    for number, test, reason in results.skips():
        console.print(f"skipped in row {number}: {test}: {reason}", style="yellow", highlight=False, markup=False)
    for test, seconds in results.unmarked():
        console.print(f"takes {seconds:.1f} s and is not marked slow: {test}", style="yellow", highlight=False)
    missing = results.missing()
    if missing:
        console.print(f"rows without a test: {', '.join(map(str, missing))}", style="bold red")
    return int(code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) or bool(missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
