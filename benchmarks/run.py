"""In which order everything is measured: by measure, and in each round all its systems in turn.

    python -m benchmarks.run [--rounds 5] [--seconds 1.0] [--only call_remote,...] [--output NAME] [--processors 1]
    python -m benchmarks.run --web

Whatever else the machine does falls on all systems alike, and each round gives ratios of its own. Writes
``benchmarks/results/NAME.json`` and, if matplotlib is installed, ``NAME.png``.
"""

from __future__ import annotations

import argparse
import datetime
import os
from importlib.util import find_spec
from pathlib import Path

from benchmarks import machine
from benchmarks.children import ChildFailed, run_child
from benchmarks.environments import versions
from benchmarks.measures import ORDER, WEB
from benchmarks.results import DIRECTORY, Found, Results, load_results, measure_named
from benchmarks.table import text

GIVE_UP = 2
"""Rounds after which a run that never gave a figure is not tried again."""


def measure_all(results: Results, names: list[str], rounds: int, path: Path) -> None:
    """Measure, one measure after the other; what was found so far is in the file after each of them."""
    for name in names:
        found = results.measures[name] = Found()
        for number in range(rounds):
            print(f"\r{name}: round {number + 1} of {rounds}   ", end="", flush=True)
            found.rounds.append(one_round(found, name, number, results.seconds))
        found.load = machine.load()
        results.save(path)
        print("\r" + " " * 60 + "\r", end="")
        print(text(Results(**{**vars(results), "measures": {name: found}, "load_before": 0.0})).strip() + "\n")


def one_round(found: Found, name: str, number: int, seconds: float) -> dict[str, dict[str, float]]:
    """Each system once; every other round the other way round, so that none always comes first."""
    runs = measure_named(name).runs
    figures = {}
    for run in runs if number % 2 == 0 else tuple(reversed(runs)):
        if run in found.failures and number >= GIVE_UP and not found.figures(run):
            continue
        try:
            figures[run] = run_child(run, name, seconds, limit=max(90.0, 30.0 * seconds))
        except ChildFailed as failure:
            found.failures[run] = str(failure)
    return figures


def draw_results(results: Results, path: Path) -> None:
    """Draw the pictures beside the file of the results."""
    if find_spec("matplotlib") is None:
        print("No picture: matplotlib is not installed")
        return
    from benchmarks.draw import draw, draw_lateness

    draw(results, path.with_suffix(".png"))
    draw_lateness(results, path.with_suffix(".lateness.svg"))
    print(f"Written: {path.with_suffix('.png').relative_to(DIRECTORY.parent.parent)}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each run in each round")
    parser.add_argument("--only", default="", help="names of measures, with commas; others stay in the file")
    parser.add_argument("--web", action="store_true", help="measure the pages; goes to web.json, and draws no picture")
    parser.add_argument("--output", default="", help="name of the files, without suffix")
    parser.add_argument("--processors", type=int, help="use only so many; then it does not depend on who runs where")
    options = parser.parse_args(arguments)
    if options.processors is not None:
        machine.use(options.processors)
    names = [name for name in options.only.split(",") if name] or list(WEB if options.web else ORDER)
    unknown = [name for name in names if name not in (*ORDER, *WEB)]
    if unknown:
        parser.error(f"there is no measure {', '.join(unknown)}; there are {', '.join((*ORDER, *WEB))}")
    load = machine.load()
    doubt = machine.warning(load)
    if doubt is not None:
        print(f"WARNING: {doubt}\n")
    systems = {run.partition(":")[0] for name in names for run in measure_named(name).runs}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    results = Results(machine.describe(), versions(systems), today, load, options.seconds)
    path = DIRECTORY / f"{options.output or ('web' if options.web else 'latest')}.json"
    if options.only and path.exists():  # the others stay as they were found
        before = load_results(path)
        results.measures.update(before.measures)
        results.versions = {**before.versions, **results.versions}
    measure_all(results, names, options.rounds, path)
    print(f"Written: {os.path.relpath(path)}")
    if not options.web:
        draw_results(results, path)
    if doubt is not None:
        print(f"WARNING: {doubt}")


if __name__ == "__main__":
    main()
