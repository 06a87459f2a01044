"""A program that calls an instrument of another one for a while, one of many; prints how long each call took.

It says "ready" when it is connected, and begins when it gets a line.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from typing import Any

_KEPT = 2000
_WARM_UP = 20


def main(arguments: list[str]) -> None:
    name, address, number, seconds = arguments
    system: Any = import_module(f"benchmarks.systems.{name}").SYSTEM
    with system.remote(address, f"client{number}") as target:
        for _ in range(_WARM_UP):
            target.call()
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(called(target, float(seconds))), flush=True)
        sys.stdin.readline()


def called(target: Any, seconds: float) -> dict[str, Any]:
    """Call for so many seconds.

    Returns:
        How many calls there were, how long they took together, in seconds, and some of their times in µs, evenly taken
        from all of them in order of length.
    """
    clock, call = time.perf_counter, target.call
    took: list[float] = []
    begin = now = clock()
    while now - begin < seconds:
        call()
        took.append(-now + (now := clock()))
    took.sort()
    step = max(1, len(took) // _KEPT)
    return {"calls": len(took), "seconds": now - begin, "times": [1e6 * each for each in took[step // 2 :: step]]}
