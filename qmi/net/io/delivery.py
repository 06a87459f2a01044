"""Who is told of what came in on a link: the sink of a request, or the owner of the link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from qmi.errors import QMI_OutcomeUnknownException
from qmi.messages import Failure
from qmi.net.io.receivers import Owner, Sink
from qmi.net.protocol.events import (
    CancelReceived,
    Connected,
    CreditReceived,
    Event,
    HelloReceived,
    ItemReceived,
    PeerLost,
    ReplyReceived,
    RequestReceived,
    SignalsReceived,
    StreamEnded,
    StreamOpened,
)


class TitledLink(Protocol):
    """What is needed of a link."""

    @property
    def title(self) -> str:
        """What messages call the other side."""


L = TypeVar("L", bound=TitledLink)
_OF_STREAMS = (StreamOpened, ItemReceived, StreamEnded)


class Delivery(Generic[L]):
    """Who waits for what on one link.

    Sinks are added and forgotten by whoever asks, with the link's mutex; events are told without it. Each answer finds
    its sink once, since taking it out of a dictionary is one step.

    Args:
        link: The link.
        owner: Its owner.
        failed: Called with what was being done, and the exception, if somebody who was told has failed.

    Attributes:
        sinks: Who waits for the answer to which request.
    """

    def __init__(self, link: L, owner: Owner[L], failed: Callable[[str, Exception], object]) -> None:
        self._link = link
        self._owner = owner
        self._failed = failed
        self.sinks: dict[int, Sink] = {}
        self._over = False
        self._told = False

    def forget(self, number: int) -> None:
        """Nobody waits for the answer to a request any more."""
        self.sinks.pop(number, None)

    def abandon(self) -> None:
        """This is a forked child, to which no answer comes."""
        sinks, self.sinks = self.sinks, {}
        for sink in sinks.values():
            sink.orphan()

    def deliver(self, event: Event) -> None:
        """Tell of one event. Never raises: a fault of this program ends this link, not the program."""
        try:
            if type(event) is ReplyReceived:
                if (sink := self.sinks.pop(event.number, None)) is not None:
                    sink.reply(event.reply)
            elif type(event) is RequestReceived:
                if not self._over:
                    self._owner.request(self._link, event.number, event.message)
            elif isinstance(event, _OF_STREAMS):
                self._tell_reader(event)
            elif not self._over:  # the owner may have ended the link because of an earlier event of the same read
                self._tell_owner(event)
        except Exception as error:  # whoever was told has failed: that ends this link alone
            self._failed(f"passing on {type(event).__name__}", error)

    def _tell_reader(self, event: StreamOpened | ItemReceived | StreamEnded) -> None:
        sink = self.sinks.get(event.number)
        if sink is None:
            return
        if isinstance(event, ItemReceived):
            sink.item(event.value)
        elif isinstance(event, StreamOpened):
            sink.stream_opened()
        else:
            self.forget(event.number)
            sink.stream_ended()

    def _tell_owner(self, event: Event) -> None:
        owner, link = self._owner, self._link
        if isinstance(event, SignalsReceived):
            owner.signals(link, event.signals)
        elif isinstance(event, CancelReceived):
            owner.cancel(link, event.number)
        elif isinstance(event, CreditReceived):
            owner.credit(link, event.number)
        elif isinstance(event, HelloReceived):
            owner.hello(link, event.hello)
        elif isinstance(event, Connected):
            owner.connected(link, event.hello)
        elif isinstance(event, PeerLost):
            self._over = True
            owner.lost(link, event)
            self._told = True

    def finish(self, loss: PeerLost) -> None:
        """Tell whoever still waits that the link is gone, if a fault has kept that from being told. Never raises.

        Args:
            loss: Why it is gone.
        """
        while self.sinks:
            number, _ = next(iter(self.sinks.items()))
            error = QMI_OutcomeUnknownException(
                f"Lost {self._link.title} ({loss.reason}); the outcome is unknown, it may or may not have been carried "
                "out"
            )
            self.deliver(ReplyReceived(number, Failure(error)))
        if not self._told:  # not at all, or the owner has failed while it was: its locks must not stay
            self._over = False
            self.deliver(loss)

    def resume_writing(self) -> None:
        """There is room again; as :meth:`deliver`."""
        try:
            if not self._over:
                self._owner.resume_writing(self._link)
        except Exception as error:  # as above
            self._failed("telling that it takes more", error)
