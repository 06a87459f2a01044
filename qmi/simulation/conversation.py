"""One connection to a simulated device: what was sent on it, and what is on its way back."""

from __future__ import annotations

from collections import deque

from qmi.simulation.device import SimulatedDevice
from qmi.simulation.framing import MOST_BYTES


class Conversation:
    """A connection.

    Args:
        device: The device at its end.
    """

    def __init__(self, device: SimulatedDevice) -> None:
        self._device = device
        self._received = bytearray()
        # What is sent, in order: when it arrives, and what it is.
        self._sent: deque[tuple[float, bytes]] = deque()
        self._cuts = device.faults.cuts

    @property
    def is_cut(self) -> bool:
        """Whether the connection is lost, for good."""
        return self._device.faults.cuts != self._cuts

    def write(self, data: bytes, now: float) -> None:
        """Give bytes to the device, which acts on each message that is whole.

        Args:
            data: The bytes.
            now: The time.
        """
        self._received += data
        while (message := self._device.take_message(self._received)) is not None:
            for delay, answer in self._device.respond(message, now):
                # An answer cannot overtake the one before.
                earliest = self._sent[-1][0] if self._sent else now
                self._sent.append((max(earliest, now + delay), answer))
        if len(self._received) > MOST_BYTES:
            self._received.clear()

    def read(self, size: int, now: float) -> bytes:
        """Take bytes that have arrived.

        Args:
            size: How many at most.
            now: The time.

        Returns:
            The bytes; none if there is nothing yet.
        """
        while self._sent and self._sent[0][0] <= now:
            due, data = self._sent.popleft()
            if len(data) > size:
                self._sent.appendleft((due, data[size:]))
            if data:
                return data[:size]
        return b""

    def next_arrival(self) -> float | None:
        """When there is something to read; None if nothing is on its way."""
        return self._sent[0][0] if self._sent else None

    def clear(self) -> None:
        """Forget what was sent and not read, in both directions, as a device clear does."""
        self._received.clear()
        self._sent.clear()
