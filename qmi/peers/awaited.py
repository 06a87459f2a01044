"""Calls that a task awaits while an object of another context carries them out: the usual call of a trio program.

Nobody else waits for such a call, and nothing else is to be done at its end. So it needs no future: the answer goes
straight to the task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from qmi.actors.future import patience_for, timed_out
from qmi.errors import QMI_Exception, QMI_NotDeliveredException
from qmi.messages import Call, Failure, Reply, Value
from qmi.names import Address
from qmi.net.io.capacity import NoRoomException
from qmi.net.io.link import Link
from qmi.peers.rpc_client import explain_awaited
from qmi.runtime.wakeup import TaskWaker


class AwaitedCall(TaskWaker):
    """What a link knows of the call, and the task that is woken by its answer.

    Args:
        link: The link that it goes out on.

    Attributes:
        number: The number of the request, 0 before it has one.
        answer: The answer, None before it has come.
    """

    __slots__ = ("_link", "answer", "number")

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        self.number: int = 0
        self.answer: Reply | None = None

    def reply(self, reply: Reply) -> None:
        """The answer, or the error that ended the request."""
        self.answer = reply
        self.wake()

    def stream_opened(self) -> None:
        """The answer is a stream, which nobody asked for: the method is not what it was when the proxy was made."""
        self._link.cancel_request(self.number)
        self.reply(Failure(QMI_Exception("The method has become a generator; get a new proxy of the object")))

    def item(self, value: Any) -> None:
        """An item of that stream; there is none, since nobody gives it credit."""

    def stream_ended(self) -> None:
        """The end of that stream."""

    def orphan(self) -> None:
        """This is a forked child, in which the task that waits does not run."""


async def ask_and_await(
    link_to: Callable[[str], Link], address: Address, call: Call, timeout: float | None = None
) -> Any:
    """Call a plain method of an object of another context, and await its result; being cancelled cancels the call.

    Args:
        link_to: Finds the link to a context; called here, so that its error is a checkpoint, too.
        address: The object.
        call: The call.
        timeout: How long to wait at most, in seconds; None waits for ever.

    Raises:
        QMI_RpcTimeoutException: If there is no answer in time.
        QMI_ValueNotSendableException: If an argument cannot be sent.
        QMI_NotDeliveredException: If there is no link, or too much waits on it.
        BaseException: Whatever the method raised; or QMI_OutcomeUnknownException if the link is lost.
    """
    try:
        link = link_to(address.context)
        awaited = AwaitedCall(link)
        try:
            if timeout is None:
                await _send(link, call, awaited)
                await awaited.wait()
            else:
                with trio.move_on_after(timeout):
                    await _send(link, call, awaited)
                    await awaited.wait()
                if awaited.answer is None and awaited.number:
                    # Asked before the call is given up, which may end what it is busy with.
                    busy = await explain_awaited(link, address.object, patience_for(timeout))
                    raise timed_out(f"{address}.{call.what}", timeout, busy)
        finally:
            answer, awaited.answer = awaited.answer, None
            if answer is None and awaited.number:
                link.cancel_request(awaited.number)
    except QMI_Exception:  # it did not go out; who tries in a loop must let others run all the same
        await trio.lowlevel.checkpoint()
        raise
    if isinstance(answer, Value):
        return answer.value
    if not awaited.number:
        raise QMI_NotDeliveredException(
            f"{address}.{call.what} was not sent within {timeout:g} s, since {link.explain_full()}; "
            "it was not carried out, repeating it is safe"
        )
    assert answer is not None, "else it was given up, or ended by an error"
    try:
        raise answer.error
    finally:
        del answer  # the traceback refers to this frame, which must not refer to the error


async def _send(link: Link, call: Call, awaited: AwaitedCall) -> None:
    encoded = None
    while not awaited.number:
        try:
            link.send_request(call, awaited, soon=True, encoded=encoded)
        except NoRoomException as refusal:
            encoded = refusal.encoded
            await link.room.wait_in_task()
    link.await_here()
