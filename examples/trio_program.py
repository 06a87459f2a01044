"""A trio program: two instruments are read at the same time, and a signal is awaited, without a thread.

python trio_program.py
"""

import random

import qmi
import trio
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator


class Counter(QMI_Instrument):
    """A simulated photon counter. All its methods are async, so it needs no thread of its own."""

    sig_counted = QMI_Signal([int])

    @rpc_method
    async def count(self, duration: float) -> int:
        """Count for some time, in seconds."""
        await trio.sleep(duration)
        counts = random.randrange(1000)
        self.sig_counted.publish(counts)
        return counts


async def main() -> None:
    async with qmi.open_context("trio_program", None) as context:
        nsg = await context.make_instrument("nsg", NoisySineGenerator)
        counter = await context.make_instrument("counter", Counter)
        async with nsg, counter, trio.open_nursery() as nursery:
            receiver = QMI_SignalReceiver()
            await counter.sig_counted.subscribe(receiver)
            nursery.start_soon(show, receiver)
            nursery.start_soon(measure, nsg)
            for _ in range(3):
                await counter.count(0.05)
            # A call that takes too long is given up like anything else in trio.
            with trio.move_on_after(0.05) as scope:
                await counter.count(3600.0)
            print("given up" if scope.cancelled_caught else "counted for an hour")
            nursery.cancel_scope.cancel()


async def show(receiver: QMI_SignalReceiver) -> None:
    async for signal in receiver:
        (counts,) = signal.args
        print(f"{counts} photons")


async def measure(nsg) -> None:
    async with nsg.locked(timeout=1.0):
        samples = [await nsg.get_sample() for _ in range(100)]
    print(f"{len(samples)} samples from {min(samples):.1f} to {max(samples):.1f}")


if __name__ == "__main__":
    trio.run(main)
