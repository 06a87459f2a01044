"""Who gets what comes in on a link: answers go to the sink of their request, all else goes to the link's owner."""

from __future__ import annotations

from typing import Protocol, TypeVar

from qmi.messages import Reply, Request, Signal, Subscribe, Unsubscribe
from qmi.net.protocol.events import Connected, Event, HelloReceived, PeerLost, RequestReceived
from qmi.net.protocol.handshake import Hello

LinkT = TypeVar("LinkT", contravariant=True)
_FOR_THE_LOOP = (HelloReceived, Connected, PeerLost)


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

    def item(self, value: object) -> None:
        """The next item of the stream."""

    def stream_ended(self) -> None:
        """The stream has no more items."""

    def orphan(self) -> None:
        """This is a forked child, to which no answer comes. Wakes nobody: who waits, does so in the parent."""


class Owner(Protocol[LinkT]):
    """Who the link belongs to.

    ``request``, ``cancel``, ``credit`` and ``signals`` are called by whoever reads: the loop, or a thread. The others
    are called on the loop. When the link ends, the loop also tells what is cancelled thereby, perhaps while a thread
    still tells of what came before it.
    """

    def hello(self, link: LinkT, hello: Hello) -> None:
        """Somebody wants in; call ``accept`` or ``refuse`` of the link, now or later."""

    def connected(self, link: LinkT, hello: Hello) -> None:
        """The handshake is done."""

    def request(self, link: LinkT, number: int, message: Request) -> None:
        """The other side asks for something; answer exactly once."""

    def cancel(self, link: LinkT, number: int) -> None:
        """The other side does not wait for this any more; answer all the same."""

    def credit(self, link: LinkT, number: int) -> None:
        """A stream may go on."""

    def signals(self, link: LinkT, signals: list[Signal]) -> None:
        """Objects of the other side published something, in this order."""

    def resume_writing(self, link: LinkT) -> None:
        """There is room again on a link that was found full. On the loop."""

    def lost(self, link: LinkT, loss: PeerLost) -> None:
        """The link is gone. The last call."""


def is_for_the_loop(event: Event) -> bool:
    """Whether only the loop may tell of an event; any thread that reads may tell of the others."""
    if type(event) is RequestReceived:
        return type(event.message) in (Subscribe, Unsubscribe)
    return isinstance(event, _FOR_THE_LOOP)
