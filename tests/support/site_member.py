"""A program that is at a site and does nothing else.

``python -m tests.support.site_member CONFIG NAME [CERTIFICATE]``
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import trio

from qmi.config.loader import completed, load_config
from qmi.config.schema import CfgQmi
from qmi.messages import Origin
from qmi.net.io.tls import client_context
from qmi.runtime.wakeup import Loop
from qmi.site.attendance import Attendance
from qmi.site.client import ClientOptions, Server, SiteClient
from qmi.site.subjects import connection_name, inbox_prefix


class Member:
    """What an attendance needs of a context."""

    def __init__(self, config: CfgQmi, name: str) -> None:
        self.config = config
        self.name = name
        self.origin = Origin(name, secrets.token_hex(8))
        self.started = time.time()
        self.loop = Loop()
        self.objects: list[tuple[str, str]] = [("psu", "Psu")]
        self.hosts: list[str] = ["127.0.0.1"]

    def listening(self) -> tuple[Sequence[str], int]:
        """Where it would listen."""
        return self.hosts, 40001

    def objects_listed(self) -> Sequence[tuple[str, str]]:
        """What it would have."""
        return self.objects


@asynccontextmanager
async def member(
    config: Path, name: str, certificate: str = "", *, refused: bool = False
) -> AsyncIterator[tuple[Attendance, Member]]:
    """A member of the site in this process, connected, or refused by the server for the first time."""
    loaded = load_config(config)
    services = Member(loaded, name)
    tls = None
    if loaded.security.enabled:
        files = completed(loaded, certificate or name).security
        tls = client_context(ca_file=str(files.ca), cert_file=str(files.certificate), key_file=str(files.key))
    options = ClientOptions(
        [Server(address) for address in loaded.site.addresses],
        connection_name(name, services.origin.incarnation),
        inbox_prefix(loaded.workgroup, name),
        tls=tls,
    )
    client = SiteClient(options, services.loop)
    attendance = Attendance(client, services)
    attendance.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        nursery.start_soon(attendance.run)
        await (client.failed if refused else client.up).wait()
        yield attendance, services
        nursery.cancel_scope.cancel()


@contextmanager
def member_process(config: Path, name: str, *certificate: str) -> Iterator[subprocess.Popen[str]]:
    """A member of the site in another process, connected; it is killed at the end."""
    command = [sys.executable, "-m", "tests.support.site_member", str(config), name, *certificate]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n"
            yield process
        finally:
            process.kill()


async def main(config: str, name: str, certificate: str = "") -> None:
    """Be there until killed."""
    async with member(Path(config), name, certificate):
        print("here", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
