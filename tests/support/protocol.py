"""Two ends of a link without sockets: what one of them sends is handed to the other one."""

from __future__ import annotations

from typing import Any

from qmi.messages import (
    Call,
    Request,
)
from qmi.net.limits import Buffer, Limits
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.events import (
    Connected,
    Event,
    HelloReceived,
    RequestReceived,
)
from qmi.net.protocol.handshake import Hello
from qmi.net.protocol.link_ends import Role

GET = Call("nsg", "get")


def make(role: Role, name: str, **kwargs: Any) -> Connection:
    hello = Hello(context=name, incarnation=f"i-{name}", workgroup=kwargs.pop("workgroup", "lab"))
    return Connection(role, hello, now=0.0, **kwargs)


def raw(buffers: list[Buffer]) -> bytes:
    return b"".join(bytes(part) for part in buffers)


def give(to: Connection, buffers: list[Buffer], now: float = 0.0) -> list[Event]:
    return to.receive_data(raw(buffers), now)


def pair(limits: Limits | None = None, **kwargs: Any) -> tuple[Connection, Connection]:
    a = make(Role.CONNECTING, "a", expected="b", limits=limits, **kwargs)
    b = make(Role.LISTENING, "b", limits=limits, **kwargs)
    assert [type(event) for event in give(b, a.data_to_send())] == [HelloReceived]
    assert [type(event) for event in b.accept(0.0)] == [Connected]
    assert [type(event) for event in give(a, b.data_to_send())] == [Connected]
    return a, b


def ask(a: Connection, b: Connection, message: Request = GET) -> int:
    number, buffers = a.send_request(message)
    a.handed_over(number)
    assert give(b, buffers) == [RequestReceived(number, message)]
    return number
