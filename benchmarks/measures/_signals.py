"""How signals are measured: a burst by the driver, timed until the last receiver has the last of them."""

from __future__ import annotations

from typing import Any

from benchmarks.meter import per_second

BURST = 2000
PATIENCE = 20.0


def signals_per_second(proxy: Any, receivers: int, seconds: float) -> float:
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

    rate = per_second(burst, BURST, seconds)
    for queue in queues:
        proxy.sig_tick.unsubscribe(queue)
    return rate
