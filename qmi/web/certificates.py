"""What browsers will find wrong with a certificate."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from qmi.config.validators import printable
from qmi.net.io.own_certificate import SOON, key_warnings

_MAKE = "'qmi certs cert NAME --host {host}' makes one"


def https_warnings(certificate: str, key: str, host: str, now: datetime | None = None) -> list[str]:
    """Return what browsers will find wrong with the certificate of a server, each with what to do about it.

    Args:
        certificate: The file of the certificate, which can be read.
        key: The file of its key.
        host: The host that stands in the address of the pages.
        now: The current time; None looks at the clock.
    """
    found = key_warnings(key, "this server")
    moment = datetime.now(UTC) if now is None else now
    loaded = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
    make = _MAKE.format(host=host)
    end = loaded.not_valid_after_utc
    if end <= moment + SOON:
        when = "expired" if end <= moment else "expires"
        found.append(f"The certificate {certificate} {when} on {end:%Y-%m-%d}: {make}")
    names = _names(loaded)
    if not any(_fits(name, host) for name in names):
        there = ", ".join(map(printable, names)) or "no name of a machine"
        found.append(f"The certificate {certificate} is for {there}, so that browsers refuse it for {host}: {make}")
    return found


def _names(certificate: x509.Certificate) -> Sequence[str]:
    try:
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return [*value.get_values_for_type(x509.DNSName), *map(str, value.get_values_for_type(x509.IPAddress))]


def _fits(name: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(host)
    except ValueError:
        pass
    name, host = name.lower().rstrip("."), host.lower().rstrip(".")
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])
