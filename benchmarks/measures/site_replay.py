"""What becomes of signals when the server of a site is killed (kill -9) in their midst, and started again.

2,000 are published at 2 kHz; the server is killed twice meanwhile. "missing": how many never came; "again": how many
came twice, or out of order; "lost": how many of those are not in its store that it had acknowledged when it was killed.
"back": seconds from when it runs again until the last of what it missed was told.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

_SIGNALS = 2000
_PERIOD = 0.0005
_KILLS = (500, 1200)
_AWAY = 200
"""So many signals later it is started again."""
_PATIENCE = 20.0


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import qmi
    from benchmarks.drivers import Driver
    from benchmarks.site.server import bench_server, site_context
    from qmi.config.loader import load_config
    from qmi.core.context import QMI_Context
    from qmi.core.pubsub import QMI_SignalReceiver

    with bench_server(per_signal=10 * _SIGNALS) as server, site_context(server) as bench:
        driver = qmi.make_instrument("driver", Driver)
        receiver = QMI_SignalReceiver(max_queue_length=2 * _SIGNALS)
        back, restarted = [], 0.0
        acknowledged: set[int] = set()
        with QMI_Context("desk", load_config(server.config)) as desk:
            desk.subscribe_signal("bench", "driver", "sig_tick", receiver)
            told: list[int] = []
            due = time.monotonic()
            for number in range(_SIGNALS):
                if number in _KILLS:
                    server.kill()
                    acknowledged |= set(range(number - _unacknowledged(bench)))
                elif number - _AWAY in _KILLS:
                    server.start()
                    restarted = time.monotonic()
                    due = restarted
                bench.publish_signal("driver", "sig_tick", number)
                due += _PERIOD
                time.sleep(max(0.0, due - time.monotonic()))
                if number - 2 * _AWAY in _KILLS:
                    _take(receiver, told, number - _AWAY)
                    back.append(time.monotonic() - restarted)
            _take(receiver, told, _SIGNALS - 1)
            assert driver is not None
            stored = _stored(desk)
    return {
        "missing": float(_SIGNALS - len(set(told))),
        "again": float(sum(second <= first for first, second in pairwise(told))),
        "lost": float(len(acknowledged - stored)),
        "back": max(back),
    }


def _take(receiver: Any, told: list[int], until: int) -> None:
    while not told or told[-1] < until:
        told.append(receiver.get_next_signal(timeout=_PATIENCE).args[0])


def _unacknowledged(context: Any) -> int:
    """How many signals wait in a program, for a server or for its acknowledgement."""
    client = context._core.at_site.membership.client
    return len(client._queue) + len(client._unacknowledged)


def _stored(context: Any) -> set[int]:
    """What the server has."""
    from qmi.core.pubsub import QMI_SignalReceiver

    receiver = QMI_SignalReceiver(max_queue_length=2 * _SIGNALS)
    context.subscribe_signal("bench", "driver", "sig_tick", receiver, since=3600)
    found: list[int] = []
    _take(receiver, found, _SIGNALS - 1)
    return set(found)


MEASURE = Measure(
    title="2,000 signals while the server of a site is killed twice",
    unit="signals, s",
    runs=("ours",),
    goals=tuple(Goal(figure=figure, at_most=0.0) for figure in ("missing", "again", "lost")),
    measure=measure,
)
