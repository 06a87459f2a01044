"""What suspends a scan: signals that say that it must not go on for now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from qmi.actors.pubsub.receiver import Delivered
from qmi.actors.pubsub.subscriptions import Topic
from qmi.core.exceptions import QMI_SignalSubscriptionException, QMI_UsageException
from qmi.core.pubsub import QMI_SignalReceiver


class SignalOf(Protocol):
    """A signal of a proxy; what its methods return may have to be awaited."""

    def subscribe(self, receiver: QMI_SignalReceiver, /) -> object:
        """Have a receiver get it."""

    def unsubscribe(self, receiver: QMI_SignalReceiver, /) -> object:
        """Have it get it no more."""


class Watch(QMI_SignalReceiver):
    """One signal, and whether it suspends the scan.

    Args:
        signal: The signal.
        condition: Called with its values; returns whether the scan is to wait.
        look: Called in any thread when something has come.
    """

    def __init__(self, signal: SignalOf, condition: Callable[..., object], look: Callable[[], object]) -> None:
        super().__init__(report_gaps=True)
        self.signal = signal
        self.condition: Callable[..., object] = condition
        self.occurred: bool = False
        self._look = look
        self._is_held = False
        self._is_lost = False

    def deliver(self, told: Sequence[Delivered]) -> None:
        """Signals come."""
        super().deliver(told)
        self._look()

    def report(self, topic: Topic, gap: str, missing: int = 0) -> None:
        """The link was lost, or is back."""
        super().report(topic, gap, missing)
        self._look()

    def why(self) -> str | None:
        """Why the scan is to wait, by what has come until now; for the scan itself.

        Raises:
            QMI_SignalSubscriptionException: If nothing will come any more.
            Exception: What the condition raises.
        """
        while self.has_signal_ready():
            received = self.get_next_signal()
            if not received.is_gap:
                self._is_held = bool(self.condition(*received.args))
            elif received.gap == "ended":
                raise QMI_SignalSubscriptionException(
                    f"The scan was to be suspended by {self.signal!r}, of which nothing will come any more"
                )
            elif received.gap != "dropped":
                self._is_lost = received.gap == "lost"
            self.occurred |= self._is_held or self._is_lost
        if self._is_lost:
            return f"suspended: the link of {self.signal!r} is lost"
        return f"suspended by {self.signal!r}" if self._is_held else None


class Watches:
    """All signals that suspend a scan."""

    def __init__(self) -> None:
        self.all: list[Watch] = []

    def add(self, signal: SignalOf, condition: Callable[..., object] | None, look: Callable[[], object]) -> None:
        """One signal more.

        Raises:
            QMI_UsageException: If it is no signal, or there is no condition, or one that is no function.
        """
        if not callable(getattr(signal, "subscribe", None)) or not callable(getattr(signal, "unsubscribe", None)):
            raise QMI_UsageException(f"suspend_when() takes a signal such as interlock.sig_state, got {signal!r}")
        if not callable(condition):
            raise QMI_UsageException(
                "suspend_when() takes a function of the values of the signal which tells if to wait, or equals=, "
                f"below= or above=, got {condition!r}"
            )
        self.all.append(Watch(signal, condition, look))

    def why(self) -> str | None:
        """Why the scan is to wait. If it is not, what has occurred until now is forgotten."""
        reasons = [why for watch in self.all if (why := watch.why()) is not None]
        if reasons:
            return reasons[0]
        for watch in self.all:
            watch.occurred = False
        return None

    def disturbed(self) -> bool:
        """Whether the scan was to wait at any moment of the point that was measured."""
        for watch in self.all:
            watch.why()
        return any(watch.occurred for watch in self.all)
