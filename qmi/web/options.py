"""How the server of the pages is to run."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from qmi.config.loader import completed
from qmi.config.paths import Places
from qmi.config.schema import DEFAULT_BIND, CfgQmi
from qmi.config.validators import is_open_to_others
from qmi.errors import QMI_ConfigurationException, QMI_UsageException
from qmi.names import HostPort, is_loopback, parse_host_port


@dataclass(frozen=True)
class Options:
    """How the server is to run.

    Attributes:
        bind: Where it listens, ``"host:port"``; port 0 takes any free one.
        name: What its context is called; empty for a name made of computer and port.
        users: File of the users that may change things; empty: whoever has the token.
        token_file: File that keeps the token, and is made if it is not there; empty: the token is a new one each time.
        certificate: File of the certificate for HTTPS (PEM); empty without.
        key: File of its private key.
        public_reading: Whether reading needs no login; None: only where the server listens on loopback.
        dashboards: Folder of the dashboards; empty for the usual one.
    """

    bind: str = DEFAULT_BIND
    name: str = ""
    users: str = ""
    token_file: str = ""
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
        return is_loopback(self.address.host)

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
            raise QMI_UsageException("HTTPS needs both: a certificate and its key (--certificate FILE --key FILE)")
        if not self.is_loopback and not self.is_encrypted:
            port = parse_host_port(DEFAULT_BIND).port
            raise QMI_UsageException(
                f"the pages would be open to others at {self.bind}, and passwords readable: name a certificate and its "
                "key (--certificate FILE --key FILE; 'qmi certs' makes them), or listen on "
                f"{DEFAULT_BIND} and come through SSH (ssh -L {port}:{DEFAULT_BIND} THIS-COMPUTER)"
            )


def check_own_certificate(config: CfgQmi, name: str) -> None:
    """See whether the context of a server has the certificate that it needs where there is a section ``security``.

    Args:
        config: The configuration.
        name: The context of the server.

    Raises:
        QMI_ConfigurationException: If it has none; says what to do.
    """
    if not config.security.enabled:
        return
    try:
        completed(config, name)
    except QMI_ConfigurationException as error:
        raise QMI_ConfigurationException(
            f"the server of the pages is a context of its own, {name!r}, and needs a certificate as others do: "
            f"{'; '.join(error.faults)}. 'qmi certs cert {name}' makes one"
        ) from error


def configured_options(config: CfgQmi, name: str) -> Options:
    """How a server is to run as the section ``web`` of a context says.

    Args:
        config: The configuration, as read from its file.
        name: The context.

    Raises:
        QMI_UsageException: If it has no such section, or the server may not run like this.
        QMI_ConfigurationException: If a file for TLS is not there.
    """
    context = config.contexts.get(name)
    web = context.web if context is not None else None
    if web is None:
        raise QMI_UsageException(f"contexts.{name} has no section web in {config.config_file or 'the configuration'}")
    places = Places(config, name)
    as_name = web.name_beside(name)
    certificate, key = (places.beside_config(file) if file else "" for file in (web.certificate, web.key))
    if not certificate and config.security.enabled and is_open_to_others(web.bind):
        security = completed(config, name).security
        certificate, key = security.certificate or "", security.key or ""
    options = Options(
        bind=web.bind,
        name=as_name,
        users=places.beside_config(web.users) if web.users else "",
        token_file="" if web.users else places.in_home(f"{as_name}.token"),
        certificate=certificate,
        key=key,
        public_reading=web.public_reading,
        dashboards=places.in_home(web.dashboards or "dashboards"),
    )
    options.check()
    check_own_certificate(config, as_name)
    return options
