"""What a window of each viewer would be with QMI: contexts that subscribe to all signals of the measuring program.

Each line of standard input is a number of seconds for which signals are counted.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack

from benchmarks.web.lab import OBJECTS, VALUES
from qmi.core.context import QMI_Context
from qmi.core.pubsub import QMI_SignalReceiver

_QUEUE = 10_000


def main(arguments: list[str]) -> None:
    """Be so many contexts that subscribe at a port."""
    port, count = int(arguments[0]), int(arguments[1])
    with ExitStack() as stack:
        contexts = [QMI_Context(f"viewer{number}") for number in range(count)]
        for context in contexts:
            context.start()
            stack.callback(context.stop)
            context.connect_to_peer("lab", f"127.0.0.1:{port}")
        receivers = [_subscribed(context) for context in contexts]
        print("{}", flush=True)
        for line in sys.stdin:
            _take_all(receivers)
            begin = time.monotonic()
            time.sleep(float(line))
            print(json.dumps({"signals": _take_all(receivers) / (time.monotonic() - begin)}), flush=True)


def _subscribed(context: QMI_Context) -> QMI_SignalReceiver:
    """A receiver of all signals of the measuring program."""
    receiver = QMI_SignalReceiver(max_queue_length=_QUEUE)
    for place in range(OBJECTS):
        for value in range(VALUES):
            context.subscribe_signal("lab", f"meter{place}", f"sig_v{value}", receiver)
    return receiver


def _take_all(receivers: list[QMI_SignalReceiver]) -> int:
    taken = 0
    for receiver in receivers:
        while receiver.has_signal_ready():
            receiver.get_next_signal(timeout=0.0)
            taken += 1
    return taken
