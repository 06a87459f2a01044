"""What is right, odd or wrong in what ``qmi doctor`` has found, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple

OK = "ok"
WARNING = "warning"
FAULT = "fault"

_MIB = 1 << 20
_LITTLE = 1024 * _MIB
_FULL = 100 * _MIB


class Finding(NamedTuple):
    """Something that was looked at.

    Attributes:
        level: "ok", "warning" or "fault".
        what: What was looked at.
        found: What was found.
        todo: What to do; empty if nothing is to be done.
    """

    level: str
    what: str
    found: str
    todo: str = ""


def disk(what: str, folder: str, free: int) -> Finding:
    """The space that is left where a folder is.

    Args:
        what: What is kept there.
        folder: Its path.
        free: Bytes that are free.
    """
    left = f"{folder}: {free / _MIB:,.0f} MiB free"
    if free < _FULL:
        return Finding(FAULT, what, left, "make room: nothing more can be written there soon")
    if free < _LITTLE:
        return Finding(WARNING, what, left, "make room before a long measurement")
    return Finding(OK, what, left)


def clock(name: str, theirs: float, before: float, after: float) -> Finding:
    """How far the clock of a context's computer is from that of this one.

    Args:
        name: The context.
        theirs: Its time.
        before: The time here before it was asked.
        after: The time here when it had answered.
    """
    difference = theirs - (before + after) / 2
    doubt = (after - before) / 2
    text = f"{abs(difference):.2g} s {'ahead of' if difference > 0 else 'behind'} this computer's"
    todo = "have both computers take their time from the network (NTP): times in data and logs do not fit together"
    if abs(difference) <= doubt + 0.1:
        return Finding(OK, f"clock of {name}", "agrees with this computer's")
    return Finding(FAULT if abs(difference) > doubt + 60.0 else WARNING, f"clock of {name}", text, todo)


def version(name: str, theirs: str, ours: str) -> Finding:
    """The version of the library that a context runs."""
    what = f"version of {name}"
    if theirs == ours:
        return Finding(OK, what, theirs)
    return Finding(WARNING, what, f"{theirs}, here {ours}", "install the same version everywhere")


def port(name: str, number: int, holder: str | None, outgoing: range) -> Finding:
    """The TCP port of a context of this computer that does not run.

    Args:
        name: The context.
        number: Its port.
        holder: Who uses it; empty if it is in use by something that does not listen, None if it is free.
        outgoing: The ports that the system gives to outgoing connections.
    """
    what = f"port {number} of {name}"
    if holder is not None:
        by = f"in use by {holder}" if holder else "in use, and nobody listens: an outgoing connection has it"
        todo = f"end that program, or give contexts.{name} another tcp_server_port"
        return Finding(FAULT, what, by, todo)
    if number in outgoing:
        todo = f"give contexts.{name} a tcp_server_port below {outgoing.start}"
        return Finding(WARNING, what, "free, but the system may give it to an outgoing connection", todo)
    return Finding(OK, what, "free; the context does not run")


def unreachable(name: str, where: str, why: str, *, here: bool, is_on: bool = False) -> Finding:
    """A context of the configuration at another computer, or without an answer.

    Args:
        name: The context.
        where: Its address.
        why: What came of asking it.
        here: Whether it is one of this computer.
        is_on: Whether the computer answers at another port.
    """
    what, found = f"context {name}", f"{where}: {why}"
    port = where.rpartition(":")[2]
    silent, rejected = "does not answer" in why, any(text in why.lower() for text in _REJECTED)
    if (silent or rejected) and is_on and not here:
        does = "drops" if silent else "rejects"
        return Finding(
            FAULT, what, f"{found}, though its computer answers at another port: a firewall {does} what comes",
            f"let TCP to port {port} through in the firewall there, or in between",
        )  # fmt: skip
    if silent:
        return Finding(
            WARNING, what, f"{found}, at no port that was tried" if not here else found,
            f"is the computer on, and is contexts.{name}.host its address? If so, a firewall drops what comes: let TCP "
            f"to port {port} through",
        )  # fmt: skip
    if rejected:
        return Finding(
            WARNING, what, found,
            "is the computer on, and does the network lead there? If so, a firewall there rejects what comes: let TCP "
            f"to port {port} through",
        )  # fmt: skip
    if any(text in why for text in _NO_SUCH_NAME):
        return Finding(FAULT, what, found, f"correct contexts.{name}.host: its name is not known here")
    if "nothing listens" in why:
        start = "" if here else " on that computer"
        return Finding(OK, what, f"{found}: it does not run", f"'qmi proc start {name}' starts it{start}")
    return Finding(FAULT, what, found, "see what the program there has logged; 'qmi ls' shows who answers")


_REJECTED = ("no route to host", "host is unreachable", "unreachable host", "permission denied", "host unreachable")
"""What systems say where a firewall has answered that it forbids it, and also where nothing leads to a computer."""
_NO_SUCH_NAME = ("ame or service not known", "ame resolution", "odename nor servname", "getaddrinfo failed")


def found_by_name(name: str, address: str, port: int, *, answers: bool, is_seen: bool) -> Finding:
    """Whether a context of another computer, which runs, can be found by its name.

    Args:
        name: The context.
        address: That computer.
        port: The UDP port for questions.
        answers: Whether it answers a question that is sent to that computer.
        is_seen: Whether it answers one that is sent to the whole network.
    """
    what = f"discovery of {name}"
    if is_seen:
        return Finding(OK, what, "it is found by its name")
    if answers:
        return Finding(
            WARNING, what, f"it answers at {address}, but not to questions that are sent to the whole network",
            "programs without this configuration do not find it by its name: name the broadcast address of its network "
            "in discovery.broadcast_addresses",
        )  # fmt: skip
    return Finding(
        WARNING, what, f"TCP reaches it at {address}, but no answer comes from UDP port {port} there",
        f"programs without this configuration do not find it by its name: let UDP to port {port} through in the "
        "firewall there (or is discovery.enabled false there?)",
    )  # fmt: skip
