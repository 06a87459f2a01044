"""Makes the files by which contexts authenticate each other: one command for a CA, one for each certificate.

::

    python -m qmi.tools.certs ca                               # once per laboratory: ca.pem, ca.key
    python -m qmi.tools.certs cert srv --workgroup lab1        # once per context:    srv.pem, srv.key
    python -m qmi.tools.certs cert lab --host lab-pc           # the same, good for browsers (qmi web), too
    python -m qmi.tools.certs show srv                         # whose it is, its serial number, when it ends
    python -m qmi.tools.certs renew srv                        # before it expires:   new srv.pem, srv.key
    python -m qmi.tools.certs revoke srv                       # lost or stolen:      a line in revoked.txt

Copy ``ca.pem``, ``srv.pem`` and ``srv.key`` to the machine where the context ``srv`` runs and name them in its
configuration. A context that has ``revoked.txt`` refuses the certificates in it. ``ca.key`` signs certificates: keep it
where no context runs. The name ``*`` makes a certificate for any context of the workgroup.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qmi.config.command_line import ToolParser, tell_error
from qmi.config.files import make_private_dirs, open_private
from qmi.config.loader import ANY_CERTIFICATE
from qmi.config.validators import printable
from qmi.errors import QMI_Exception, QMI_UsageException
from qmi.names import certificate_uri, check_name
from qmi.net.io.revocation import parse_serial, read_revoked

DEFAULT_DAYS = 3650
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.?")


def make_ca(directory: Path, *, name: str = "QMI CA", days: int = DEFAULT_DAYS) -> tuple[Path, Path]:
    """Make a certificate authority: ``ca.pem`` and ``ca.key``.

    Returns:
        The files of its certificate and its key.

    Raises:
        QMI_UsageException: If a file of that name exists, or the directory cannot be written to.
    """
    files = directory / "ca.pem", directory / "ca.key"
    _check_free(*files)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = _key_usage(signs_certificates=True)
    builder = (
        _builder(subject, subject, key.public_key(), days)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    _write_pair(files, key, builder.sign(key, hashes.SHA256()))
    return files


def make_certificate(
    directory: Path,
    context: str,
    *,
    workgroup: str = "default",
    hosts: Sequence[str] = (),
    days: int = DEFAULT_DAYS,
    into: Path | None = None,
) -> tuple[Path, Path]:
    """Make the certificate of a context with the CA in the same directory.

    Args:
        directory: Where ``ca.pem`` and ``ca.key`` are, and the new files go.
        context: Name of the context, or ``*`` for any of the workgroup.
        workgroup: Recorded in the certificate; only contexts of one workgroup connect.
        hosts: Names and addresses of the machine, for browsers and other programs that look at the certificate.
        days: How long it is valid.
        into: Where the new files go instead.

    Returns:
        The files of the certificate and its key.

    Raises:
        QMI_UsageException: If a name is not usable, a file exists, or there is no CA.
    """
    if context != "*":
        check_name(context, "context")
    if not 0 < len(workgroup) <= 64:
        raise QMI_UsageException(f"A workgroup has 1 to 64 characters in a certificate, got {workgroup!r}")
    names: list[x509.GeneralName] = [_general_name(host) for host in hosts]
    stem = _stem(context)
    place = directory if into is None else into
    files = place / f"{stem}.pem", place / f"{stem}.key"
    _check_free(*files)
    authority, authority_key = _load_ca(directory)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, context),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, workgroup),
        ]
    )
    serial = x509.random_serial_number()
    names.append(x509.UniformResourceIdentifier(certificate_uri(serial)))
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = (
        _builder(subject, authority.subject, key.public_key(), days)
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(issuer_key, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    _write_pair(files, key, builder.sign(authority_key, hashes.SHA256()))
    return files


def renew_certificate(directory: Path, stem: str, *, days: int = DEFAULT_DAYS) -> tuple[Path, Path]:
    """Make a new certificate, with a new key, in place of one that ends; the old files get the ending ``.old``.

    Args:
        directory: Where the CA and the files of the certificate are.
        stem: Name of the files without their ending: the context, or ``any``.
        days: How long it is valid.

    Returns:
        The files of the certificate and its key.

    Raises:
        QMI_UsageException: If there is no such certificate, or no CA.
    """
    files = directory / f"{stem}.pem", directory / f"{stem}.key"
    old = load_certificate(files[0])
    names = {entry.oid: str(entry.value) for entry in old.subject}
    hosts: Sequence[str] = ()
    with suppress(x509.ExtensionNotFound):
        extension = old.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        addresses = extension.value.get_values_for_type(x509.IPAddress)
        hosts = [*extension.value.get_values_for_type(x509.DNSName), *map(str, addresses)]
    context, workgroup = names.get(NameOID.COMMON_NAME, ""), names.get(NameOID.ORGANIZATION_NAME, "")
    with TemporaryDirectory(dir=directory) as aside:
        # Made aside first: whatever goes wrong, the old files are there.
        made = make_certificate(directory, context, workgroup=workgroup, hosts=hosts, days=days, into=Path(aside))
        for new, file in zip(made, files, strict=True):
            if file.exists():
                os.replace(file, file.with_name(f"{file.name}.old"))
            os.replace(new, file)
    return files


def revoke(directory: Path, what: str) -> tuple[Path, str, bool]:
    """Put a certificate on the list of those that are refused: ``revoked.txt``.

    Args:
        directory: Where the list is.
        what: A serial number in hexadecimal digits, a certificate file, or the name of its context.

    Returns:
        The list, the serial number, and whether it was not on the list before.

    Raises:
        QMI_UsageException: If there is no such certificate, or the list cannot be read or written.
    """
    file = next((path for path in (Path(what), directory / f"{what}.pem") if path.is_file()), None)
    try:
        number = parse_serial(what) if file is None else load_certificate(file).serial_number
    except ValueError as error:
        raise QMI_UsageException(
            f"There is no certificate {what!r} in {directory}, and it is no serial number in hexadecimal digits"
        ) from error
    note = what if file is None else load_certificate(file).subject.rfc4514_string()
    path = directory / "revoked.txt"
    try:
        known = read_revoked(str(path)) if path.exists() else frozenset()
        if number not in known:
            with os.fdopen(
                open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "w", encoding="utf-8"
            ) as list_file:
                list_file.write(f"{number:x}  # {printable(note)}, revoked on {datetime.now(UTC):%Y-%m-%d}\n")
    except (OSError, ValueError) as error:
        raise QMI_UsageException(f"The list {path} cannot be used: {error}") from error
    return path, f"{number:x}", number not in known


def load_certificate(file: Path) -> x509.Certificate:
    """Read a certificate.

    Raises:
        QMI_UsageException: If there is none.
    """
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except OSError as error:
        raise QMI_UsageException(f"There is no certificate in {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise QMI_UsageException(
            f"There is no certificate in {file}: it has no text from -----BEGIN CERTIFICATE----- to -----END "
            "CERTIFICATE-----, or one that is damaged"
        ) from error


def describe(certificate: x509.Certificate) -> str:
    """Say in one line whose a certificate is, its serial number, and when it ends."""
    end = certificate.not_valid_after_utc
    name = printable(certificate.subject.rfc4514_string())
    return f"{name}, serial number {certificate.serial_number:x}, valid until {end:%Y-%m-%d}"


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    try:
        name = host.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    if not _HOST.fullmatch(name):
        raise QMI_UsageException(
            f"The name of a machine is one as 'lab-pc.example.org', or an address as '10.0.0.5'; got {host!r}"
        )
    return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    if days < 1:
        raise QMI_UsageException(f"A certificate is valid for at least 1 day, got {days}")
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .not_valid_before(now - timedelta(days=1))  # clocks in a laboratory differ
        .not_valid_after(now + timedelta(days=days))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _load_ca(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
        key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), password=None)
    except FileNotFoundError as error:
        raise QMI_UsageException(
            f"There is no {error.filename}: make a CA first with `qmi certs ca`, or give its directory"
        ) from error
    except (ValueError, TypeError, OSError) as error:
        raise QMI_UsageException(f"The CA in {directory} cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise QMI_UsageException(f"The key of the CA in {directory} is of another kind; `... ca` makes one that fits")
    return certificate, key


def _check_free(*files: Path) -> None:
    for file in files:
        if file.exists():
            raise QMI_UsageException(
                f"{file} exists already; it is not overwritten. Move it away, or choose another name"
            )


def _write_pair(files: tuple[Path, Path], key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write_new(files[1], secret, 0o600)
    _write_new(files[0], certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _write_new(file: Path, data: bytes, mode: int) -> None:
    """Write a file that did not exist, never readable by more people than its mode says."""
    try:
        make_private_dirs(file.parent)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise QMI_UsageException(f"{file} cannot be written: {error.strerror}") from error
    with open(descriptor, "wb") as stream:
        stream.write(data)


def _stem(context: str) -> str:
    return ANY_CERTIFICATE if context == "*" else context


def make_parser(program: str) -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = ToolParser(prog=program, description="Make certificates for contexts.")
    parser.add_argument("--directory", "-d", type=Path, default=Path(), help="where the files are (default: here)")
    commands = parser.add_subparsers(dest="command", required=True)
    ca = commands.add_parser("ca", help="make a certificate authority: ca.pem and ca.key")
    ca.add_argument("--name", default="QMI CA", help="what it is called")
    cert = commands.add_parser("cert", help="make the certificate of a context")
    cert.add_argument("context", help="name of the context, or '*' for any of the workgroup")
    cert.add_argument("--workgroup", "-w", default="default", help="workgroup of the context (default: %(default)s)")
    cert.add_argument(
        "--host",
        action="append",
        default=[],
        help="name or address of its machine, for browsers; several times if need be",
    )
    renew = commands.add_parser("renew", help="make a new certificate and key in place of those of a context")
    renew.add_argument("context", help="name of the context, or '*' for any of the workgroup")
    revoked = commands.add_parser("revoke", help="add a certificate to revoked.txt, the list of those that are refused")
    revoked.add_argument("certificate", help="name of its context, its file, or its serial number")
    show = commands.add_parser("show", help="show whose a certificate is, its serial number, and when it ends")
    show.add_argument("certificate", help="name of its context, or its file")
    for command in (ca, cert, renew):
        command.add_argument("--days", type=int, default=DEFAULT_DAYS, help="how long it is valid (%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None, program: str = "python -m qmi.tools.certs") -> int:
    """Run the command line; returns the exit code."""
    options = make_parser(program).parse_args(argv)
    try:
        if options.command == "ca":
            files = make_ca(options.directory, name=options.name, days=options.days)
            advice = f"Keep {files[1]} secret: whoever has it can make certificates."
        elif options.command == "revoke":
            path, serial, new = revoke(options.directory, options.certificate)
            how = "is revoked now" if new else "was revoked already"
            sys.stdout.write(
                f"The certificate with serial number {serial} {how}, in {path}. Copy that to every machine, where "
                "'security.revoked' names it; it is read again when it changes. Links that are open stay open. Servers "
                "of a site read it with 'qmi site start'.\n"
            )
            return 0
        elif options.command == "show":
            named = Path(options.certificate)
            is_file = named.is_file() or named.suffix  # else it is the name of a context, which has no dot
            file = named if is_file else options.directory / f"{_stem(options.certificate)}.pem"
            sys.stdout.write(describe(load_certificate(file)) + "\n")
            return 0
        elif options.command == "renew":
            stem = _stem(options.context)
            old = f"{load_certificate(options.directory / f'{stem}.pem').serial_number:x}"
            files = renew_certificate(options.directory, stem, days=options.days)
            advice = (
                "Copy both to the machine of the context, and start it again. If the old key may be in other hands: "
                f"'python -m qmi.tools.certs revoke {old}'."
            )
        else:
            files = make_certificate(
                options.directory, options.context, workgroup=options.workgroup, hosts=options.host, days=options.days
            )
            where = (
                "each machine where programs run that have no certificate of their own"
                if options.context == "*"
                else f"the machine where context '{options.context}' runs"
            )
            advice = f"Copy both and ca.pem to {where}."
    except QMI_Exception as error:
        tell_error(str(error), program)
        return 2
    sys.stdout.write(f"Wrote {files[0]} and {files[1]}. {advice}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
