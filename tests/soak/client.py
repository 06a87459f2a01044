"""A program of the soak that calls: several clients, each a context of its own, half in threads and half in trio.

    python -m tests.soak.client PREFIX CLIENTS LEDGER NAME=PORT ...

Lines on its input: ``pause`` (finish what is under way; answered by ``paused``), ``go``; its end ends the program.
"""

from __future__ import annotations

import logging
import random
import sys
import threading
from pathlib import Path

from tests.soak.ledger import Ledger
from tests.soak.load import Client, Gate
from tests.soak.load_async import run_async_clients


def main(prefix: str, count: str, ledger_path: str, *servers: str) -> None:
    """Run the clients until the input ends."""
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, format="%(asctime)s %(name)s %(message)s")
    ledger = Ledger(Path(ledger_path))
    gate = Gate(int(count))
    ports = {name: int(port) for name, _, port in (server.partition("=") for server in servers)}
    blocking = (int(count) + 1) // 2
    names = [f"{prefix}_{number}" for number in range(int(count))]
    threads = [
        threading.Thread(target=Client(name, ports, ledger, gate, random.Random(name)).run, name=name)
        for name in names[:blocking]
    ]
    if names[blocking:]:
        threads.append(
            threading.Thread(target=run_async_clients, args=(names[blocking:], ports, ledger, gate), name="trio")
        )
    for thread in threads:
        thread.start()
    for line in sys.stdin:
        if line.strip() == "pause":
            gate.pause()
            print("paused", flush=True)
        else:
            gate.go()
    gate.end()
    for thread in threads:
        thread.join(30)
        if thread.is_alive():
            ledger.write("v", f"{thread.name} hangs")


if __name__ == "__main__":
    main(*sys.argv[1:])
