"""Which part of the README shows the results: what stands between two markers.

python -m benchmarks.readme [RESULTS.json]
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.machine import used, warning
from benchmarks.results import DIRECTORY, Results, load_results
from benchmarks.table import markdown

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- benchmarks: written by `make bench-readme` -->", "<!-- end of benchmarks -->"


def section(results: Results) -> str:
    """What stands between the markers."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    doubt = warning(results.load_before)
    rounds = max(len(found.rounds) for found in results.measures.values())
    return "\n".join(
        [
            f"Measured on {results.date}: {used(machine)} ({machine['processor']}), "
            f"{machine['memory_gib']} GiB, {machine['system']}, {machine['python']}; {versions}. "
            f"All took turns in {rounds} rounds; figures are medians, in brackets the least and the greatest ratio."
            + (f" Note that {doubt}." if doubt else ""),
            "",
            markdown(results),
        ]
    )


def replace_section(text: str, content: str) -> str:
    """The text with other content between the markers.

    Raises:
        ValueError: If it does not have both, in this order.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README has no lines {BEGIN!r} and {END!r}; put them where the table is to stand")
    return f"{head}{BEGIN}\n{content}\n{END}{tail}"


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY / "latest.json"
    README.write_text(replace_section(README.read_text(), section(load_results(path))))
    print(f"{README.name} shows {path.name} now")


if __name__ == "__main__":
    main()
