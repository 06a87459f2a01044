"""One process of a benchmark: measures one thing of one system, or serves for the process that does.

    python -P benchmarks/child.py RUN MEASURE SECONDS     prints the figures as JSON
    python -P benchmarks/child.py RUN --serve             prints an address, serves until its input ends
    python -P benchmarks/child.py RUN --run MODULE ...    runs the function ``main`` of a module

The same files run in the environments of all systems. The repository must not be on the path there, because its
directory ``qmi`` would hide the other library of that name; so this package is loaded by its place.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path


def load_package() -> None:
    """Make ``benchmarks`` importable without its parent directory on the path."""
    here = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        "benchmarks", here / "__init__.py", submodule_search_locations=[str(here)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["benchmarks"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def main() -> None:
    load_package()
    run, what = sys.argv[1], sys.argv[2]
    if what == "--run":
        importlib.import_module(sys.argv[3]).main(sys.argv[4:])
        return
    name, _, variant = run.partition(":")
    system = importlib.import_module(f"benchmarks.systems.{name}").SYSTEM
    if what == "--serve":
        with system.serving(variant) as address:
            print(address, flush=True)
            sys.stdin.read()
        return
    measure = importlib.import_module(f"benchmarks.measures.{what}").MEASURE
    print(json.dumps(measure.measure(system, variant, float(sys.argv[3]))), flush=True)


if __name__ == "__main__":
    main()
