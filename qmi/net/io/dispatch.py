"""Hands each event of a link to whom it is for: answers to the sink of their request, all else to the link's owner."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from qmi.errors import QMI_OutcomeUnknownException
from qmi.messages import Failure, Reply, Request, Signal, Subscribe, Unsubscribe
from qmi.net.protocol.events import (
    CancelReceived,
    Connected,
    CreditReceived,
    Event,
    HelloReceived,
    ItemReceived,
    LargeFrameReceived,
    PeerLost,
    ReplyReceived,
    RequestReceived,
    SignalsReceived,
    StreamEnded,
    StreamOpened,
)
from qmi.net.protocol.handshake import Hello

if TYPE_CHECKING:
    from qmi.net.io.link import Link


class Sink(Protocol):
    """Who gets the answer to a request. Called by whoever reads: the loop, or a thread.

    The loss of the link is told by the loop, perhaps while a thread still tells of what came before it.

    Attributes:
        number: The number of the request, set by the link before anything is sent.
    """

    number: int

    def reply(self, reply: Reply) -> None:
        """The answer, or the error that ended the request or its stream."""

    def stream_opened(self) -> None:
        """The answer is a stream."""

    def item(self, value: Any) -> None:
        """The next item of the stream."""

    def stream_ended(self) -> None:
        """The stream has no more items."""

    def orphan(self) -> None:
        """This is a forked child, to which no answer comes. Wakes nobody: who waits, does so in the parent."""


class Owner(Protocol):
    """Who the link belongs to.

    ``request``, ``cancel``, ``credit`` and ``signals`` are called by whoever reads: the loop, or a thread. The others
    are called on the loop. When the link ends, the loop also tells what is cancelled thereby, perhaps while a thread
    still tells of what came before it.
    """

    def hello(self, link: Link, hello: Hello) -> None:
        """Somebody wants in; call ``accept`` or ``refuse`` of the link, now or later."""

    def connected(self, link: Link, hello: Hello) -> None:
        """The handshake is done."""

    def request(self, link: Link, number: int, message: Request) -> None:
        """The other side asks for something; answer exactly once."""

    def cancel(self, link: Link, number: int) -> None:
        """The other side does not wait for this any more; answer all the same."""

    def credit(self, link: Link, number: int) -> None:
        """A stream may go on."""

    def signals(self, link: Link, signals: list[Signal]) -> None:
        """Objects of the other side published something, in this order."""

    def relieved(self, link: Link) -> None:
        """There is room again on a link that was found full. On the loop."""

    def lost(self, link: Link, loss: PeerLost) -> None:
        """The link is gone. The last call."""


class Delivery:
    """Who waits for what on one link.

    Sinks are added and forgotten by whoever asks, with the link's mutex; events are told without it. Each answer finds
    its sink once, since taking it out of a dictionary is one step.

    Args:
        link: The link.
        owner: Its owner.
        failed: Called with what was being done, and the exception, if somebody who was told has failed.
    """

    def __init__(self, link: Link, owner: Owner, failed: Callable[[str, Exception], object]) -> None:
        self._link = link
        self._owner = owner
        self._failed = failed
        self._sinks: dict[int, Sink] = {}
        self._over = False
        self._told = False

    def expect(self, number: int, sink: Sink) -> None:
        """There will be an answer to a request."""
        self._sinks[number] = sink

    def forget(self, number: int) -> None:
        """Nobody waits for the answer to a request any more."""
        self._sinks.pop(number, None)

    def abandon(self) -> None:
        """This is a forked child, to which no answer comes."""
        sinks, self._sinks = self._sinks, {}
        for sink in sinks.values():
            sink.orphan()

    def deliver(self, event: Event) -> None:
        """Tell of one event. Never raises: a fault of this program ends this link, not the program."""
        try:
            tell, for_sinks, _ = _WAYS[type(event)]
            # The owner may have ended the link because of an earlier event of the same read.
            if for_sinks or not self._over:
                tell(self, event)
        except Exception as error:  # whoever was told has failed: that ends this link alone
            self._failed(f"passing on {type(event).__name__}", error)

    def finish(self, loss: PeerLost) -> None:
        """Tell whoever still waits that the link is gone, if a fault has kept that from being told. Never raises.

        Args:
            loss: Why it is gone.
        """
        while self._sinks:
            number, _ = next(iter(self._sinks.items()))
            error = QMI_OutcomeUnknownException(
                f"Lost {self._link.title} ({loss.reason}); the outcome is unknown, it may or may not have been carried "
                "out"
            )
            self.deliver(ReplyReceived(number, Failure(error)))
        if not self._told:  # not at all, or the owner has failed while it was: its locks must not stay
            self._over = False
            self.deliver(loss)

    def relieved(self) -> None:
        """There is room again; as :meth:`deliver`."""
        try:
            if not self._over:
                self._owner.relieved(self._link)
        except Exception as error:  # as above
            self._failed("telling that it takes more", error)

    def _reply(self, event: ReplyReceived) -> None:
        if (sink := self._sinks.pop(event.number, None)) is not None:
            sink.reply(event.reply)

    def _stream_opened(self, event: StreamOpened) -> None:
        if (sink := self._sinks.get(event.number)) is not None:
            sink.stream_opened()

    def _item(self, event: ItemReceived) -> None:
        if (sink := self._sinks.get(event.number)) is not None:
            sink.item(event.value)

    def _stream_ended(self, event: StreamEnded) -> None:
        if (sink := self._sinks.pop(event.number, None)) is not None:
            sink.stream_ended()

    def _request(self, event: RequestReceived) -> None:
        self._owner.request(self._link, event.number, event.message)

    def _signals(self, event: SignalsReceived) -> None:
        self._owner.signals(self._link, event.signals)

    def _cancel(self, event: CancelReceived) -> None:
        self._owner.cancel(self._link, event.number)

    def _credit(self, event: CreditReceived) -> None:
        self._owner.credit(self._link, event.number)

    def _hello(self, event: HelloReceived) -> None:
        self._owner.hello(self._link, event.hello)

    def _connected(self, event: Connected) -> None:
        self._owner.connected(self._link, event.hello)

    def _large_frame(self, event: LargeFrameReceived) -> None:
        """Whoever reads looks for it afterwards."""

    def _lost(self, event: PeerLost) -> None:
        self._over = True
        self._owner.lost(self._link, event)
        self._told = True


class _Route(NamedTuple):
    tell: Callable[[Delivery, Any], None]
    for_sinks: bool = False  # who wait for an answer, and are told also when the owner has heard the last
    anywhere: bool = True  # may be told by any thread that reads; what is not, by the loop alone


_WAYS: dict[type, _Route] = {
    ReplyReceived: _Route(Delivery._reply, for_sinks=True),
    StreamOpened: _Route(Delivery._stream_opened, for_sinks=True),
    ItemReceived: _Route(Delivery._item, for_sinks=True),
    StreamEnded: _Route(Delivery._stream_ended, for_sinks=True),
    RequestReceived: _Route(Delivery._request),
    SignalsReceived: _Route(Delivery._signals),
    CancelReceived: _Route(Delivery._cancel),
    CreditReceived: _Route(Delivery._credit),
    HelloReceived: _Route(Delivery._hello, anywhere=False),
    Connected: _Route(Delivery._connected, anywhere=False),
    LargeFrameReceived: _Route(Delivery._large_frame),
    PeerLost: _Route(Delivery._lost, anywhere=False),
}


def is_for_the_loop(event: Event) -> bool:
    """Whether only the loop may tell of an event; any thread that reads may tell of the others."""
    if type(event) is RequestReceived:
        return type(event.message) in (Subscribe, Unsubscribe)
    return not _WAYS[type(event)].anywhere
