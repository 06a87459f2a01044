"""``qmi doctor``: looks at everything that a laboratory stands on, and says what to do. It changes nothing."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qmi._version import __version__
from qmi.errors import QMI_ConfigurationException, QMI_Exception
from qmi.tools.cli.doctor_network import discovery, is_on
from qmi.tools.cli.doctor_rules import FAULT, OK, WARNING, Finding, clock, disk, port, unreachable, version
from qmi.tools.cli.errors import EXIT_FAILED, EXIT_OK
from qmi.tools.cli.options import CommandParser
from qmi.tools.cli.terminal import Terminal

if TYPE_CHECKING:
    from qmi.config.schema import CfgQmi
    from qmi.presenting.seen import Seen
    from qmi.tools.cli.session import Laboratory

DESCRIPTION = """
Look at what a laboratory stands on: the configuration, certificates and their keys, ports, the space on the
disks, and the contexts that run: their versions, clocks, and what has failed in them; of those that cannot be
reached, whether a firewall may be the reason, as far as that can be seen from here. Each finding says what to do.
Nothing is changed. Exit code 1 if there is a fault; a warning is none.
"""

_STYLES = {OK: "green", WARNING: "yellow", FAULT: "red"}
_NO_LINK_OR_NO_SECRET = ("expired", "is valid only from", "can be used by others")
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def add_arguments(parser: CommandParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--all", action="store_true", help="show what is right, too")


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code: 1 if there is a fault."""
    found = list(examine(arguments))
    faulty = any(finding.level == FAULT for finding in found)
    if terminal.json:
        terminal.write_json([finding._asdict() for finding in found])
        return EXIT_FAILED if faulty else EXIT_OK
    shown = [finding for finding in found if arguments.all or finding.level != OK]
    if shown:
        styles = [_STYLES[finding.level] for finding in shown]
        terminal.table(("", "what", "found", "what to do"), shown, styles=styles)
    right = sum(finding.level == OK for finding in found)
    terminal.write(f"{right} of {len(found)} things that were looked at are right")
    return EXIT_FAILED if faulty else EXIT_OK


def examine(arguments: Namespace) -> Iterator[Finding]:
    """Look at everything, and say what was found."""
    from qmi.tools.cli.config import check
    from qmi.tools.cli.session import laboratory

    try:
        path, faults = check(arguments.config)
    except QMI_ConfigurationException as error:
        yield Finding(FAULT, "configuration", str(error), "name another file by --config or $QMI_CONFIG")
        return
    for fault in faults:
        where = path if fault.line is None else f"{path}:{fault.line}"
        yield Finding(FAULT, "configuration", f"{where}: {fault.text}", "mend this line")
    if faults:
        return
    yield Finding(OK, "configuration", path or "there is no file: defaults are in force")
    with laboratory(arguments) as lab:
        yield from _folders(lab.config)
        yield from _certificates(lab.config)
        yield from _contexts(lab)


def _folders(config: CfgQmi) -> Iterator[Finding]:
    from qmi.config.paths import Places

    places = Places(config)
    folders = {"home directory": places.qmi_home, "log files": places.log_dir, "output of programs": places.output_dir}
    if config.datastore is not None:
        folders["data"] = places.datastore
    for what, find in folders.items():
        try:
            folder = find()
        except QMI_ConfigurationException as error:
            yield Finding(FAULT, what, str(error), "mend this setting")
            continue
        there = Path(folder)
        while not there.exists() and there != there.parent:
            there = there.parent
        if not os.access(there, os.W_OK):
            yield Finding(FAULT, what, f"{folder} cannot be written to", "give this user the right, or name another")
            continue
        with suppress(OSError):
            yield disk(what, folder, shutil.disk_usage(there).free)


def _certificates(config: CfgQmi) -> Iterator[Finding]:
    if not config.security.enabled:
        return
    from qmi.config.loader import completed
    from qmi.net.io.own_certificate import certificate_warnings
    from qmi.tools.certs import load_certificate

    yield from _ca_key(config)
    for name in list(config.contexts) or ["qmi_proc"]:
        what = f"certificate of {name}"
        try:
            security = completed(config, name).security
            files = (str(security.ca), str(security.certificate), str(security.key))
            group = config.workgroup
            warnings = certificate_warnings(
                ca_file=files[0], cert_file=files[1], key_file=files[2], context=name, workgroup=group
            )
            end = load_certificate(Path(files[1])).not_valid_after_utc
        except (QMI_Exception, OSError, ValueError) as error:
            yield Finding(WARNING, what, str(error), "needed only on the computer of this context")
            continue
        for warning in warnings:
            said, _, todo = warning.rpartition(": ")
            level = FAULT if any(sign in warning for sign in _NO_LINK_OR_NO_SECRET) else WARNING
            yield Finding(level, what, said or warning, todo if said else "")
        if not warnings:
            yield Finding(OK, what, f"valid until {end:%Y-%m-%d}")


def _ca_key(config: CfgQmi) -> Iterator[Finding]:
    """The key with which certificates are made, if it was left beside the certificate of the CA."""
    if config.security.ca is None:
        return
    from qmi.config.loader import completed

    with suppress(QMI_Exception, OSError):
        key = Path(str(completed(config, "qmi_proc").security.ca)).with_suffix(".key")
        mode = stat.S_IMODE(key.stat().st_mode)
        if os.name != "nt" and mode & 0o077:
            said = f"{key} can be used by others of this computer (mode {mode:04o})"
            todo = f"'chmod 600 {key}': whoever reads it can make certificates for every context"
            yield Finding(FAULT, "key of the CA", said, todo)
        else:
            yield Finding(OK, "key of the CA", f"{key} is for its owner alone")


def _contexts(lab: Laboratory) -> Iterator[Finding]:
    from qmi.proc.local_hosts import local_hosts
    from qmi.tools.cli.overview import look

    begin = time.time()
    try:
        found = look(lab, ())
    except QMI_Exception as error:
        yield Finding(FAULT, "network", str(error), "is the network up, and UDP let through by the firewall?")
        return
    here = local_hosts(settings.host for settings in lab.config.contexts.values())
    on: dict[str, bool] = {}
    for seen in found:
        settings = lab.config.contexts.get(seen.name)
        local = settings is not None and (settings.host is None or settings.host.lower() in here)
        if seen.status is not None:
            yield from _running(seen, begin)
        elif seen.state == "not running" and local and settings is not None and settings.tcp_server_port:
            number = settings.tcp_server_port
            yield port(seen.name, number, port_holder(settings.host or "127.0.0.1", number), _outgoing())
        elif seen.address is not None:
            host = seen.address.host
            if host not in on:  # it may take a second, for each of several contexts
                on[host] = not local and is_on(host, found)
            yield unreachable(seen.name, str(seen.address), seen.why, here=local, is_on=on[host])
    yield from discovery(lab.config, found)


def _running(seen: Seen, begin: float) -> Iterator[Finding]:
    status = seen.status
    assert status is not None
    name = seen.name
    yield version(name, seen.version, __version__)
    if status.now:
        yield clock(name, status.now, begin, time.time())
    host = seen.address.host if seen.address is not None else ""
    if not seen.tls and not host.startswith("127.") and host not in ("localhost", "::1"):
        todo = "add a security section, or listen on 127.0.0.1"
        yield Finding(WARNING, f"links of {name}", "not protected: everybody in the network can use it", todo)
    for entry in status.objects:
        if entry.state == "failed":
            todo = f"mend it, and 'qmi proc restart {name}.{entry.name}'"
            yield Finding(WARNING, f"{name}.{entry.name}", f"has failed: {entry.why}", todo)
    if status.pages is not None and status.pages.why:
        todo = f"mend it, and they come by themselves; 'qmi serve {name} --check' says what they lack"
        yield Finding(WARNING, f"pages of {name}", f"are not served: {status.pages.why}", todo)
    elif status.pages is not None and status.pages.address:
        yield Finding(OK, f"pages of {name}", f"are served at {status.pages.address}")
    if status.signals.dropped:
        todo = "who receives them is too slow, or its network is; see 'qmi ls' for its link"
        yield Finding(WARNING, f"signals of {name}", f"{status.signals.dropped} found no room on a link", todo)
    if status.log.errors:
        todo = f"'qmi log {name} --level ERROR' shows them"
        yield Finding(WARNING, f"log of {name}", f"{status.log.errors} errors since its start", todo)


def port_holder(host: str, number: int) -> str | None:
    """Who uses a TCP port of this computer; None if it is free."""
    from qmi.peers.acceptor import holder_of

    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
    except OSError:
        return holder_of(number) or ""
    return None


def _outgoing() -> range:
    try:
        first, last = map(int, _PORT_RANGE.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # another system
        return range(49152, 65536)
    return range(first, last + 1)
