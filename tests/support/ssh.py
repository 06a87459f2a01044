"""SSH servers on this machine: a real OpenSSH one, and one inside the test's process."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import psutil

from qmi.config.schema import CfgContext, CfgProcessHost
from qmi.proc.ssh.client import SshLimits
from tests.support.outside import wait_for_file
from tests.support.ports import free_port
from tests.support.proc import PROGRAMS, ROOT

SSHD = shutil.which("sshd") or ("/usr/sbin/sshd" if os.access("/usr/sbin/sshd", os.X_OK) else None)
LIMITS = SshLimits(login=5.0, ready=20.0, answer=40.0, keepalive=3.0)


@dataclass
class Keys:
    """The keys of one test: those of the user are in the home directory, where SSH looks for them."""

    home: Path
    port: int
    host_key: asyncssh.SSHKey

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"

    def trust(self, key: asyncssh.SSHKey | None = None, port: int | None = None) -> None:
        public = (key or self.host_key).export_public_key().decode()
        self.known_hosts.write_text(f"[127.0.0.1]:{port or self.port} {public}")


def make_keys(home: Path) -> Keys:
    (home / ".ssh").mkdir(mode=0o700)
    user = asyncssh.generate_private_key("ssh-ed25519")
    user.write_private_key(str(home / ".ssh" / "id_ed25519"))
    user.write_public_key(str(home / ".ssh" / "id_ed25519.pub"))
    keys = Keys(home, free_port(), asyncssh.generate_private_key("ssh-ed25519"))
    keys.trust()
    return keys


@contextlib.contextmanager
def openssh(keys: Keys, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``sshd`` with its default limits on the port of the keys."""
    assert SSHD is not None
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    keys.host_key.write_private_key(str(directory / "host_key"))
    (directory / "host_key").chmod(0o600)
    shutil.copy(keys.home / ".ssh" / "id_ed25519.pub", directory / "authorized_keys")
    (directory / "sshd_config").write_text(
        f"Port {keys.port}\nListenAddress 127.0.0.1\nHostKey {directory}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\nUsePAM no\n"
    )
    # What it says goes into a file: whoever it has started may outlive it, and would keep the end of a pipe open.
    log = directory / "sshd.log"
    command = [SSHD, "-D", "-E", str(log), "-f", str(directory / "sshd_config")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as server:
        try:
            wait_for_file(lambda: log.exists() and "Server listening" in log.read_text(), directory)
            yield server
        finally:
            for session in sessions(server):
                session.kill()
            server.kill()


def sessions(server: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes that serve the connections, without what runs in them."""
    found = []
    for child in psutil.Process(server.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.name().startswith("sshd"):
                found.append(child)
    return found


def helper_command(home: Path, config: Path, *, before: str = "") -> str:
    words = ["env", f"HOME={home}", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.support.proc_helper", "server"]
    return before + shlex.join([*words, "--config", str(config)])


def process_host(keys: Keys, command: str) -> CfgProcessHost:
    return CfgProcessHost(command, f"127.0.0.1:{keys.port}", getpass.getuser())


def far_config(home: Path, **contexts: CfgContext) -> Path:
    """The configuration file that the helper reads."""
    (home / "out").mkdir(exist_ok=True)
    path = home / "far.conf"
    settings = {
        name: {
            "enabled": True,
            "program_module": context.program_module,
            "program_args": context.program_args,
            "python_path": str(PROGRAMS),
            **({"host": context.host} if context.host else {}),
            **({"tcp_server_port": context.tcp_server_port} if context.tcp_server_port else {}),
        }
        for name, context in contexts.items()
    }
    path.write_text(json.dumps({"contexts": settings, "process_management": {"output_dir": str(home / "out")}}))
    return path


class _Accepting(asyncssh.SSHServer):
    def __init__(self, banner: str, connections: list[asyncssh.SSHServerConnection]) -> None:
        self._banner = banner
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        if self._banner and self._connection is not None:
            self._connection.send_auth_banner(self._banner)
        return False


Behaviour = Callable[["asyncssh.SSHServerProcess[bytes]"], Awaitable[None]]


@contextlib.contextmanager
def inner_server(keys: Keys, behave: Behaviour, *, banner: str = "") -> Iterator[None]:
    """Run an SSH server in a thread of this process; every session behaves as given."""
    loop = asyncio.new_event_loop()
    connections: list[asyncssh.SSHServerConnection] = []

    async def begin() -> Any:
        return await asyncssh.create_server(
            lambda: _Accepting(banner, connections),
            "127.0.0.1",
            keys.port,
            server_host_keys=[keys.host_key],
            process_factory=behave,
            encoding=None,
        )

    async def end(server: Any) -> None:
        server.close()
        # A client that went away in the middle of the login leaves a connection behind.
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in connections))
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(20)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(end(server), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


def kill_quietly(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
