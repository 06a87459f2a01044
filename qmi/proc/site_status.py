"""What the servers of a site say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct

from qmi.config.loader import completed
from qmi.config.schema import CfgQmi, CfgSecurity
from qmi.errors import QMI_ConfigurationException, QMI_ConnectionException, QMI_RuntimeException
from qmi.names import CLI_PREFIX, HostPort
from qmi.site.blocking import Talk, conversation
from qmi.site.presence import Present
from qmi.site.server_config import COMMANDS_NAME, CONNECTIONS, SERVER_NAME
from qmi.site.subjects import stream_name

if TYPE_CHECKING:
    from qmi.actors.context_status import ContextStatus

T = TypeVar("T")

RUNNING: Final = "running"
NOT_RUNNING: Final = "not reached"
REFUSED: Final = "no answer"
NOT_READY: Final = "not ready"

_ASKER: Final = f"{CLI_PREFIX}site"


class ServerStatus(Struct, frozen=True):
    """A server, as it was found.

    Attributes:
        address: Where it is.
        state: "running"; "not ready" if it runs and keeps nothing, as the first of several; "not reached";
            "no answer" if somebody is there who is no such server or refuses this program.
        why: Why it is not running; else empty.
        version: The version of its program.
        contexts: How many are connected to it.
        values: How many values of signals the site keeps.
        size: How many bytes these are.
    """

    address: HostPort
    state: str
    why: str = ""
    version: str = ""
    contexts: int = 0
    values: int = 0
    size: int = 0

    def as_json(self) -> dict[str, object]:
        """The same as plain values."""
        return {
            "server": str(self.address),
            "state": self.state,
            "why": self.why,
            "version": self.version,
            "contexts": self.contexts,
            "values": self.values,
            "bytes": self.size,
        }


def look(config: CfgQmi, address: HostPort, *, timeout: float) -> ServerStatus:
    """Ask a server how it is.

    Args:
        config: The configuration.
        address: The server.
        timeout: For all of it, in seconds.

    Raises:
        QMI_ConfigurationException: If there is no certificate to show.
    """
    name, security = asker(config)
    try:
        with conversation(config, security, address, name, timeout=timeout) as talk:
            return _look(talk, config, address)
    except QMI_ConnectionException as error:
        return ServerStatus(address, NOT_RUNNING, str(error))
    except QMI_RuntimeException as error:
        return ServerStatus(address, REFUSED, str(error))


def who_is_there(config: CfgQmi, pattern: str = "*", *, timeout: float) -> list[Present]:
    """Ask the site who is there, and with which objects: the first server that answers.

    Args:
        config: The configuration.
        pattern: Which names are wanted, with ``*``, ``?`` and ``[...]``.
        timeout: For each server, in seconds.

    Raises:
        QMI_RuntimeException: If no server answers.
        QMI_ConfigurationException: If there is no certificate to show.
    """
    return _ask_any(config, lambda talk: talk.who_is_there(config, pattern), timeout)


def how_they_are(config: CfgQmi, contexts: Sequence[str], *, timeout: float) -> dict[str, ContextStatus]:
    """Ask the site how contexts are, in short: the first server that answers.

    Args:
        config: The configuration.
        contexts: Their names.
        timeout: For each server, in seconds.

    Returns:
        How they are, by incarnation; those that have not said so are not among them.

    Raises:
        QMI_RuntimeException: If no server answers.
        QMI_ConfigurationException: If there is no certificate to show.
    """
    from qmi.site.health import ask_how_they_are  # with trio, which the state of servers does without

    return _ask_any(config, lambda talk: talk.carry_out(ask_how_they_are(config.workgroup, contexts)), timeout)


def _ask_any(config: CfgQmi, ask: Callable[[Talk], T], timeout: float) -> T:
    name, security = asker(config)
    fault: QMI_RuntimeException | None = None
    for address in config.site.addresses:
        try:
            with conversation(config, security, address, name, timeout=timeout) as talk:
                return ask(talk)
        except QMI_RuntimeException as error:
            fault = error
    raise fault or QMI_RuntimeException("there is no site")


def asker(config: CfgQmi) -> tuple[str, CfgSecurity]:
    """As whom a command talks with servers, and the files for TLS: those of a server where it has them.

    Raises:
        QMI_ConfigurationException: If there are none.
    """
    try:
        security = completed(config, SERVER_NAME).security
    except QMI_ConfigurationException:
        security = completed(config, COMMANDS_NAME).security
    return (_certified_name(security) if security.enabled else _ASKER), security


def _certified_name(security: CfgSecurity) -> str:
    """Whom the certificate is for: answers reach only that name."""
    from cryptography import x509

    try:
        subject = x509.load_pem_x509_certificate(Path(str(security.certificate)).read_bytes()).subject
    except (OSError, ValueError) as error:
        raise QMI_ConfigurationException(f"The certificate {security.certificate} cannot be read: {error}") from error
    names = [str(entry.value) for entry in subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    return _ASKER if names in ([], ["*"]) else names[0]


def _look(talk: Talk, config: CfgQmi, address: HostPort) -> ServerStatus:
    version = str(talk.info.plain.get("version", ""))
    own = talk.info.plain.get("server_id")
    # Each server answers for itself; this one is among the first, since it is the nearest.
    found = talk.ask_each(CONNECTIONS, {"limit": 1}, expected=len(config.site.addresses))
    contexts = next((_count(answer["data"]) for answer in found if answer["data"].get("server_id") == own), 0)
    stream = f"$JS.API.STREAM.INFO.{stream_name(config.workgroup)}"
    try:
        kept = talk.ask_plain(stream)["state"]
    except (QMI_RuntimeException, TimeoutError) as error:
        reason = "it does not say" if isinstance(error, TimeoutError) else str(error)
        more = ", when all of the servers run" if len(config.site.addresses) > 1 else ""
        why = f"{address} runs, and does not keep signals yet: {reason}. 'qmi site start' makes it ready{more}"
        return ServerStatus(address, NOT_READY, why, version, contexts)
    return ServerStatus(address, RUNNING, "", version, contexts, kept.get("messages", 0), kept.get("bytes", 0))


def _count(plain: dict[str, Any]) -> int:
    return max(int(plain.get("total", 0)) - 1, 0)  # without the one who asks
