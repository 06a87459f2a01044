"""How signals are measured: a burst by the driver, timed until the last receiver has the last of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.meter import per_second

BURST = 2000
PATIENCE = 20.0


@contextmanager
def signal_burst(proxy: Any, receivers: int) -> Iterator[Callable[[int], None]]:
    """A function that has so many signals published, and waits for them at so many receivers."""
    from qmi.core.pubsub import QMI_SignalReceiver

    queues = [QMI_SignalReceiver(max_queue_length=2 * BURST) for _ in range(receivers)]
    for queue in queues:
        proxy.sig_tick.subscribe(queue)

    def burst(count: int) -> None:
        future = proxy.rpc_nonblocking.burst(count)
        for queue in queues:
            for _ in range(count):
                queue.get_next_signal(timeout=PATIENCE)
        future.wait()

    yield burst
    for queue in queues:
        proxy.sig_tick.unsubscribe(queue)


def signals_per_second(proxy: Any, receivers: int, seconds: float) -> float:
    with signal_burst(proxy, receivers) as burst:
        return per_second(burst, BURST, seconds)
