"""A program that subscribes to the driver of context "bench", and tells how late its signals were.

A signal says when it was published. A line of standard input with a number has the worst of those that came until then
told; they count anew from there.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import qmi
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.errors import QMI_TimeoutException

_QUEUE = 100_000


class _Lateness:
    def __init__(self, receiver: QMI_SignalReceiver) -> None:
        self._receiver = receiver
        self._mutex = threading.Lock()
        self._worst, self._count = 0.0, 0

    def watch(self) -> None:
        while True:
            try:
                signal = self._receiver.get_next_signal(timeout=1.0)
            except QMI_TimeoutException:
                continue
            late = time.time() - signal.timestamp
            with self._mutex:
                self._worst, self._count = max(self._worst, late), self._count + 1

    def take(self) -> dict[str, float]:
        with self._mutex:
            found = {"worst": self._worst, "count": float(self._count)}
            self._worst, self._count = 0.0, 0
        return found


def main(arguments: list[str]) -> None:
    """Be that program, with a name, a configuration, and an address to connect to: "" at a site."""
    name, config, address = arguments
    qmi.start(name, config or None, console_loglevel="CRITICAL")
    if address:
        qmi.context().connect_to_peer("bench", address)
    receiver = QMI_SignalReceiver(max_queue_length=_QUEUE)
    qmi.context().subscribe_signal("bench", "driver", "sig_large", receiver)
    lateness = _Lateness(receiver)
    threading.Thread(target=lateness.watch, daemon=True).start()
    print("{}", flush=True)
    for _ in sys.stdin:
        print(json.dumps(lateness.take()), flush=True)
