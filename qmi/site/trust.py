"""What both sides of a connection to a server prove to each other, by the section ``security``."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from qmi.config.schema import CfgSecurity
from qmi.net.io.revocation import RevocationList
from qmi.net.io.tls import check_workgroup, client_context, peer_identity
from qmi.site.server_config import SERVER_NAME

Check: TypeAlias = Callable[[Mapping[str, Any] | None], str | None]
"""Says what is wrong with the certificate of a server; None if nothing is."""


def protection(security: CfgSecurity, workgroup: str) -> tuple[ssl.SSLContext, Check] | None:
    """What is used to connect to a server, and checks its certificate; None without a section ``security``.

    Args:
        security: The files, with full names.
        workgroup: The workgroup of the site.

    Raises:
        QMI_ConfigurationException: If a file is not there or does not fit.
    """
    if not security.enabled:
        return None
    tls = client_context(ca_file=str(security.ca), cert_file=str(security.certificate), key_file=str(security.key))
    revoked = RevocationList(security.revoked) if security.revoked is not None else None

    def check(certificate: Mapping[str, Any] | None) -> str | None:
        try:
            if revoked is not None:
                revoked.check(certificate)
            return check_workgroup(peer_identity(certificate), workgroup, expected=SERVER_NAME)
        except PermissionError as error:
            return str(error)

    return tls, check
