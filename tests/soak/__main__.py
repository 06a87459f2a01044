"""How long a soak lasts, what is broken each second, and when it has failed.

python -m tests.soak [--seconds 600] [--clients 50] [--seed N] [--keep DIRECTORY]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from tests.soak.ledger import Sum, add_up
from tests.soak.world import JUNK, Program, Size, World

MEMORY_GROWTH = 32 << 20
THREAD_GROWTH = 3
DESCRIPTOR_GROWTH = 6


def main(arguments: list[str]) -> int:
    """Return 0 if all held, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--keep", type=Path, help="directory for ledgers and logs, which are deleted otherwise")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(f"{options.clients} clients, {options.seconds:g} s, seed {options.seed}")
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        faults = Soak(directory, options.clients, options.seconds, options.seed, console).run()
    for fault in faults[:50]:
        console.print(fault, style="red", markup=False)
    console.print("failed" if faults else "all held", style="bold red" if faults else "bold green")
    return int(bool(faults))


class Soak:
    """One soak.

    Args:
        directory: Where ledgers and output go.
        clients: How many clients.
        seconds: For how long faults are made.
        seed: Chooses the faults.
        console: Where the report goes.
    """

    def __init__(self, directory: Path, clients: int, seconds: float, seed: int, console: Console) -> None:
        self._world = World(directory, clients)
        self._seconds = seconds
        self._source = Random(seed)
        self._console = console
        self._made: Counter[str] = Counter()
        self._sleep = threading.Event().wait
        self._running: list[threading.Thread] = []
        self._frozen: threading.Thread | None = None

    def run(self) -> list[str]:
        """Run it and return what did not hold."""
        world = self._world
        self._break(self._seconds / 4)  # until then caches fill and every kind of fault has been seen
        before = self._sizes()
        self._break(self._seconds * 3 / 4)
        after = self._sizes()
        stuck = world.close()
        result = add_up(
            [client.ledger for client in world.clients],
            [server.ledger for server in world.servers.values()],
            world.killed,
        )
        self._report(result, before, after)
        faults = [*result.faults, *(f"{name} did not end by itself" for name in stuck)]
        for program in world.steady():
            faults += _growth(program.name, before[program.name], after[program.name])
        if not result.outcomes["value"]:
            faults.append("no call gave a value")
        return faults

    def _break(self, seconds: float) -> None:
        """Make a fault every second."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            name = self._source.choice(list(self._faults()))
            self._made[name] += 1
            self._faults()[name]()
            self._sleep(max(0.0, now + 1.0 - time.monotonic()))

    def _faults(self) -> dict[str, Callable[[], object]]:
        world, target = self._world, self._source.choice(list(self._world.ports))
        programs: list[Program] = [*world.servers.values(), *world.clients]
        return {
            "server killed": world.kill_server,
            "client killed": world.kill_client,
            "reset": lambda: world.reset(target),
            "stall": lambda: world.stall(target, self._sleep),
            "damaged frames": lambda: world.damage(target, self._sleep),
            "program frozen": lambda: world.freeze(self._source.choice(programs), 1.5, self._sleep),
            "program frozen until it counts as dead": self._freeze_for_long,
            **{what: partial(self._beside, partial(world.forge, data)) for what, data in JUNK.items()},
        }

    def _beside(self, function: Callable[[], None]) -> None:
        """Make a fault that takes longer than a second while others go on."""
        thread = threading.Thread(target=function, daemon=True)
        thread.start()
        self._running.append(thread)

    def _freeze_for_long(self) -> None:
        if self._frozen is None or not self._frozen.is_alive():
            client = self._world.clients[-1]
            self._beside(lambda: self._world.freeze(client, 17.0, self._sleep))
            self._frozen = self._running[-1]

    def _sizes(self) -> dict[str, Size]:
        """Sizes at rest: no load, and the links of dead peers gone."""
        while self._running:
            self._running.pop().join(30)
        self._world.pause()
        self._sleep(2.0)
        sizes = {program.name: program.size() for program in self._world.steady()}
        self._world.go()
        return sizes

    def _report(self, result: Sum, before: dict[str, Size], after: dict[str, Size]) -> None:
        table = Table("program", "", "memory", "threads", "descriptors")
        for name in before:
            for when, size in (("start", before[name]), ("end", after[name])):
                memory = f"{size.memory / (1 << 20):.1f} MiB"
                table.add_row(name, when, memory, str(size.threads), str(size.descriptors))
        self._console.print(table)
        for title, counts in (("faults made", self._made), ("calls", result.outcomes)):
            self._console.print(f"{title}: " + ", ".join(f"{count} {what}" for what, count in counts.most_common()))
        self._console.print(
            f"calls that were under way in a killed client: {result.killed}; that never ended: {result.open}; "
            f"grants of locks: {result.grants}"
        )


def _growth(name: str, before: Size, after: Size) -> list[str]:
    limits = (MEMORY_GROWTH + before.memory // 10, THREAD_GROWTH, DESCRIPTOR_GROWTH)
    return [
        f"{name}: {what} grew from {old} to {new}"
        for what, old, new, limit in zip(Size._fields, before, after, limits, strict=True)
        if new > old + limit
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
