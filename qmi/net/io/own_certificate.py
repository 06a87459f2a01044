"""What is to be said about the certificate and key that this program itself shows, when it starts."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from qmi.config.validators import printable

SOON = timedelta(days=30)
"""How long before its end a certificate is worth a warning."""


def key_warnings(key_file: str, owner: str) -> list[str]:
    """Return what is wrong with who may read a private key.

    Args:
        key_file: The key.
        owner: What whoever reads it can pose as.
    """
    if os.name == "nt" or not (mode := stat.S_IMODE(os.stat(key_file).st_mode)) & 0o077:
        return []
    warning = (
        f"The key {key_file} can be used by others of this computer (mode {mode:04o}): whoever reads it can pose "
        f"as {owner}. Take that away with 'chmod 600 {key_file}'"
    )
    return [warning]


def certificate_warnings(
    *, ca_file: str, cert_file: str, key_file: str, context: str, workgroup: str, now: datetime | None = None
) -> list[str]:
    """Return what is wrong, or soon will be, each with what to do about it.

    Args:
        ca_file: Certificate of the authority.
        cert_file: Certificate of this program.
        key_file: Its key.
        context: Name of the context that shows it.
        workgroup: Its workgroup.
        now: The current time; None looks at the clock.
    """
    from cryptography import x509

    found = key_warnings(key_file, "this context")
    moment = datetime.now(UTC) if now is None else now
    certificate = x509.load_pem_x509_certificate(Path(cert_file).read_bytes())
    authority = x509.load_pem_x509_certificate(Path(ca_file).read_bytes())
    renew = f"make a new one with 'python -m qmi.tools.certs renew {context}'"
    new_ca = "make a new CA, and new certificates with it"
    for what, file, checked, advice in (
        ("certificate", cert_file, certificate, renew), ("CA certificate", ca_file, authority, new_ca),
    ):  # fmt: skip
        end = checked.not_valid_after_utc
        if end <= moment:
            found.append(f"The {what} {file} expired on {end:%Y-%m-%d}: nobody will connect. Please {advice}")
        elif end <= moment + SOON:
            found.append(f"The {what} {file} expires on {end:%Y-%m-%d}: {advice}")
        elif checked.not_valid_before_utc > moment:
            begin = checked.not_valid_before_utc
            found.append(
                f"The {what} {file} is valid only from {begin:%Y-%m-%d %H:%M} UTC: is this computer's clock right?"
            )
    names = {entry.oid: str(entry.value) for entry in certificate.subject}
    name = names.get(x509.NameOID.COMMON_NAME, "")
    if name not in (context, "*"):
        found.append(
            f"The certificate {cert_file} is for context '{printable(name)}', this one is '{context}': others will "
            f"refuse it. Name its own certificate, or make one with 'python -m qmi.tools.certs cert {context}'"
        )
    group = names.get(x509.NameOID.ORGANIZATION_NAME, "")
    if group != workgroup:
        found.append(
            f"The certificate {cert_file} is for workgroup '{printable(group)}', this context is of '{workgroup}': "
            f"others will refuse it. Make one with 'python -m qmi.tools.certs cert {context} --workgroup {workgroup}'"
        )
    return found
