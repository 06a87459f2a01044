"""What a context or object may be called, how the two together make an address, and the names of parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable

from qmi.errors import QMI_InvalidValueException, QMI_UsageException
from qmi.records import NamedTuple

MAX_NAME_LENGTH = 63
_NAME = re.compile(r"[-_a-zA-Z0-9()]{1,63}\Z")
_PATH = re.compile(r"(?:(\w+)\[([0-9]{1,9})\]\.)?(\w+)")
_MEMBER = re.compile(r"(?:([^.\[\]]+)\.)?([^.\[\]]+)\.((?:\w+\[[0-9]{1,9}\]\.)?\w+)")
_ALLOWED = "letters, digits, '-', '_', '(' and ')'"

CONTEXT_OBJECT_NAME = "$context"

INTERNAL_PACKAGES = {"$runs": "qmi.data", "$scans": "qmi.scan", "$traffic": "qmi.core.driver"}
"""The internal objects that a context makes when they are asked for, and the packages that publish them."""

SERVER_SCHEME = "nats://"
SERVER_PORT = 4222
"""Where a server of a site listens if its address does not say."""

_VERBS = ("get", "set", "is", "has", "sig", "rpc")
_CLOSE = 0.6

ASKER_PREFIX = "qmi_proc_"
"""Begins the names of peers that only come for one question."""

CLI_PREFIX = "qmi_cli_"
"""Begins the names of those that only come for one command of ``qmi``."""

PASSING_PREFIXES = (ASKER_PREFIX, CLI_PREFIX)
"""How the names of peers begin that come and go, under a new name each time."""


class Address(NamedTuple):
    """Where an object lives: the name of its context, and its own."""

    context: str
    object: str

    def __str__(self) -> str:
        return f"{self.context}.{self.object}"


class ParameterPath(NamedTuple):
    """The name of a parameter within its object: ``"voltage"``, ``"channels[1].voltage"``.

    Attributes:
        name: Its name.
        group: What the channels are called whose parameter it is; empty for one of the object itself.
        number: The number of the channel.
    """

    name: str
    group: str = ""
    number: int = 0

    def __str__(self) -> str:
        return f"{self.group}[{self.number}].{self.name}" if self.group else self.name


class HostPort(NamedTuple):
    """A TCP endpoint."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Relay(HostPort):
    """A server of a site that passes on what a link carries, where the other side cannot be reached itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{RELAY_WORD} {super().__str__()}"


RELAY_WORD = "relay"


def is_relay(where: str) -> bool:
    """Whether an address, as a text, is that of a :class:`Relay`."""
    return where.startswith(f"{RELAY_WORD} ")


def certificate_uri(serial: int) -> str:
    """What a certificate calls itself, besides the name of its context: one that is made anew has another one."""
    return f"urn:qmi:certificate:{serial:x}"


def is_valid_name(name: object) -> bool:
    """Whether a context or object may have this name."""
    return isinstance(name, str) and _NAME.match(name) is not None


def check_name(name: str, what: str) -> str:
    """Return the name, or say what is wrong with it.

    Args:
        name: The name that somebody wants to give.
        what: What gets the name, for the message: "context", "object".

    Raises:
        QMI_UsageException: If the name is not usable.
    """
    if not isinstance(name, str):
        raise QMI_UsageException(
            f"A{'n' * what.startswith('o')} {what} name is a string; got {name!r} of type {type(name).__name__}"
        )
    if is_valid_name(name):
        return name
    if not name:
        fault = "it is empty"
    elif len(name) > MAX_NAME_LENGTH:
        fault = f"it has {len(name)} characters, the limit is {MAX_NAME_LENGTH}"
    else:
        bad = sorted({char for char in name if not _NAME.match(char)})
        fault = "it contains " + ", ".join(repr(char) for char in bad)
    raise QMI_InvalidValueException(f"Invalid {what} name {name!r}: {fault}. Allowed are {_ALLOWED}")


def parse_address(text: str, default_context: str | None = None) -> Address:
    """Split ``"context.object"``; a lone object name gets the default context if there is one.

    Raises:
        QMI_UsageException: If the text is not an address.
    """
    if not isinstance(text, str):
        raise QMI_UsageException(f"An object is named by a string 'context.object'; got {text!r}")
    context, dot, name = text.partition(".")
    if not dot:
        if default_context is None:
            raise QMI_InvalidValueException(f"Invalid object address {text!r}: expected 'context.object'")
        context, name = default_context, text
    if name != CONTEXT_OBJECT_NAME and name not in INTERNAL_PACKAGES:
        check_name(name, "object")
    return Address(check_name(context, "context"), name)


def parse_parameter_path(text: object) -> ParameterPath | None:
    """Split the name of a parameter; None if none can have such a name."""
    # What another program asks for need not be a text.
    found = _PATH.fullmatch(text) if isinstance(text, str) else None
    return None if found is None else ParameterPath(found[3], found[1] or "", int(found[2] or 0))


def split_member(text: object) -> tuple[str, str, str] | None:
    """Split ``"context.object.member"`` or ``"object.member"``; None if it is neither.

    Returns:
        The context, empty if there is none; the object; and the member: the name of a signal, a parameter or a method,
        or that of a channel, such as ``"outputs[1].voltage"``.
    """
    found = _MEMBER.fullmatch(text) if isinstance(text, str) else None
    if found is None or not is_valid_name(found[2]) or not (found[1] is None or is_valid_name(found[1])):
        return None
    return found[1] or "", found[2], found[3]


def parse_member(path: str) -> tuple[Address, str]:
    """The object and what of it somebody typed: ``lab.psu.channels[1].voltage`` is ``channels[1].voltage`` of lab.psu.

    The member may be a pattern, or of a name that nothing has.

    Raises:
        QMI_InvalidValueException: If it is no such path.
    """
    context, _, rest = path.partition(".")
    name, _, member = rest.partition(".")
    if not member or not is_valid_name(context) or not is_valid_name(name):
        raise QMI_InvalidValueException(f"it is written CONTEXT.OBJECT.NAME, such as lab.psu.voltage; got {path!r}")
    return Address(context, name), member


def parse_host_port(text: str) -> HostPort:
    """Read ``"host:port"``; an IPv6 host stands in brackets: ``"[::1]:40001"``.

    Raises:
        QMI_InvalidValueException: If the text is not a host and a port.
    """
    host, colon, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    good_host = bool(host) and (bracketed or ":" not in host) and not re.search(r"[\s\[\]]", host)
    if not (colon and good_host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise QMI_InvalidValueException(
            f"Invalid address {text!r}: expected 'host:port' such as '192.168.1.5:40001', "
            "or '[fe80::1]:40001' for IPv6, with a port from 0 to 65535"
        )
    return HostPort(host, int(port))


def parse_peer_address(text: str) -> HostPort:
    """Read ``"host:port"``, or ``"relay host:port"`` as a :class:`Relay` is written.

    Raises:
        QMI_InvalidValueException: If the text is neither.
    """
    if isinstance(text, str) and is_relay(text):
        return Relay(*parse_host_port(text.removeprefix(f"{RELAY_WORD} ")))
    return parse_host_port(text)


def parse_server_url(text: object) -> HostPort | None:
    """Read the address of a site's server, ``"nats://host"`` or ``"nats://host:port"``; None if it is none."""
    if not isinstance(text, str) or not text.startswith(SERVER_SCHEME):
        return None
    address = text.removeprefix(SERVER_SCHEME)
    has_port = re.search(r":[0-9]*\Z", address.rpartition("]")[2]) is not None
    try:
        found = parse_host_port(address if has_port else f"{address}:{SERVER_PORT}")
    except QMI_InvalidValueException:
        return None
    return found if found.port and re.search(r"[/@?#\x00-\x1f]", found.host) is None else None


def is_loopback(host: str) -> bool:
    """Whether only programs of this computer can connect to this host: an address, or a name."""
    import ipaddress  # only few programs ask

    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name that a misspelt one probably means; None if it resembles none of these."""
    from difflib import get_close_matches

    choices = list(known)
    typed = name.casefold()
    for choice in choices:
        if choice != name and (choice.casefold() == typed or _two_are_swapped(typed, choice.casefold())):
            return choice
    near = get_close_matches(name, choices, n=len(choices) or 1)
    return next((choice for choice in near if _same_beginning_is_not_all(name, choice)), None)


def _two_are_swapped(name: str, choice: str) -> bool:
    """Whether one becomes the other when two letters beside each other are swapped: of short names, little else is."""
    differ = [place for place, (one, other) in enumerate(zip(name, choice, strict=False)) if one != other]
    if len(name) != len(choice) or len(differ) != 2 or differ[1] != differ[0] + 1:
        return False
    first, second = differ
    return name[first] == choice[second] and name[second] == choice[first]


def _same_beginning_is_not_all(name: str, choice: str) -> bool:
    """Whether two names that both begin with ``get_`` or the like resemble each other behind that, too."""
    from difflib import SequenceMatcher

    verb, _, rest = name.partition("_")
    if verb not in _VERBS or not choice.startswith(f"{verb}_"):
        return True
    other = choice[len(verb) + 1 :]
    return other.startswith(rest) or rest.startswith(other) or SequenceMatcher(None, rest, other).ratio() >= _CLOSE
