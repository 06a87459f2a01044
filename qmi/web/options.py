"""How the server of the pages is to run."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from qmi.errors import QMI_UsageException
from qmi.names import HostPort, parse_host_port

DEFAULT_BIND = "127.0.0.1:8642"


@dataclass(frozen=True)
class Options:
    """How the server is to run.

    Attributes:
        bind: Where it listens, ``"host:port"``; port 0 takes any free one.
        name: What its context is called; empty for a name made of computer and port.
        users: File of the users that may change things; empty: whoever has the token that is printed at the start.
        certificate: File of the certificate for HTTPS (PEM); empty without.
        key: File of its private key.
        public_reading: Whether reading needs no login; None: only where the server listens on loopback.
        dashboards: Folder of the dashboards; empty for the usual one.
    """

    bind: str = DEFAULT_BIND
    name: str = ""
    users: str = ""
    certificate: str = ""
    key: str = ""
    public_reading: bool | None = None
    dashboards: str = ""

    @property
    def address(self) -> HostPort:
        """Where it listens.

        Raises:
            QMI_InvalidValueException: If it is no address.
        """
        return parse_host_port(self.bind)

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this computer can connect."""
        host = self.address.host
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def is_encrypted(self) -> bool:
        """Whether it speaks HTTPS."""
        return bool(self.certificate)

    @property
    def reading_is_free(self) -> bool:
        """Whether reading needs no login."""
        return self.is_loopback if self.public_reading is None else self.public_reading

    @property
    def context_name(self) -> str:
        """What the context of the server is called."""
        return self.name or re.sub(r"\W", "_", f"web_{socket.gethostname().partition('.')[0]}_{self.address.port}")

    def check(self) -> None:
        """See whether the server may run like this.

        Raises:
            QMI_UsageException: If it may not; says what to do.
        """
        if bool(self.certificate) != bool(self.key):
            raise QMI_UsageException("HTTPS needs both: a certificate and its key")
        if not self.is_loopback and not self.is_encrypted:
            raise QMI_UsageException(
                f"the pages would be open to others at {self.bind}, and passwords readable: name a certificate and its "
                f"key (--certificate, --key), or listen on {DEFAULT_BIND} and come through SSH"
            )
