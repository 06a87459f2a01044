"""What a run notes by itself: the program and its script, versions, the configuration, the state of the instruments."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from qmi._version import __version__
from qmi.errors import QMI_Exception, QMI_UnknownRpcException
from qmi.parameters.snapshot import Snapshot
from qmi.records import asdict

if TYPE_CHECKING:
    from qmi.contexts.blocking_context import QMI_Context

SNAPSHOT_TIMEOUT: Final = 5.0
"""Seconds that an instrument has to answer with its snapshot."""

_PACKAGES: Final = ("trio", "cbor2", "numpy", "h5py", "h5netcdf", "xarray", "pint", "pyvisa", "pyserial")
_GIT_TIMEOUT: Final = 5.0
_MAX_SCRIPT: Final = 1 << 20
_LOCKED: Final = "locked by another proxy; give your own one to the run: qmi.data.run(..., instruments=[proxy])"


def active_context() -> QMI_Context | None:
    """The context of the code that calls; None if there is none."""
    from qmi.contexts.default import context

    with suppress(QMI_Exception):
        found = context()
        found.async_context.check_running()
        return found
    return None


def of_program(context: QMI_Context | None) -> dict[str, Any]:
    """The program, its script, versions and configuration."""
    return {
        "host": socket.gethostname(),
        "user": _user(),
        "process": os.getpid(),
        "context": None if context is None else context.name,
        "timezone": {"name": time.tzname[time.localtime().tm_isdst > 0], "utc_offset": time.localtime().tm_gmtoff},
        "versions": dict(_versions()),
        "script": of_script(),
        "configuration": None if context is None else _configuration(context),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in the system's list, or no list
        return str(getattr(os, "getuid", lambda: "?")())


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    yield "system", platform.platform()
    yield "qmi-trio", __version__
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def _configuration(context: QMI_Context) -> object:
    return json.loads(json.dumps(asdict(context.get_config()), default=str))


def of_script() -> dict[str, Any]:
    """The script that runs: its file and arguments, its text, and the state of the git repository that it is in."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    script: dict[str, Any] = {"file": None, "arguments": [*map(str, sys.argv[1:])], "directory": None}
    with suppress(OSError):
        script["directory"] = os.getcwd()
    if file is None:  # a prompt or a notebook
        return {**script, "git": of_git(script["directory"])}
    path = Path(file).absolute()
    script["file"] = str(path)
    with suppress(OSError):
        content = path.read_bytes()
        script["sha256"] = hashlib.sha256(content).hexdigest()
        if len(content) <= _MAX_SCRIPT:
            script["text"] = content.decode("utf-8", "replace")
    return {**script, "git": of_git(str(path.parent))}


def of_git(directory: str | None) -> dict[str, Any] | None:
    """The commit that is checked out in a directory, and what differs from it; None where there is no repository."""
    if directory is None:
        return None
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(directory, "status", "--porcelain", "--untracked-files=no")
    difference = _git(directory, "diff", "HEAD") if changed else ""
    return {
        "commit": commit.strip(),
        "branch": (_git(directory, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        "root": (_git(directory, "rev-parse", "--show-toplevel") or "").strip(),
        "changed": (changed or "").splitlines(),
        "diff": difference if difference is not None and len(difference) <= _MAX_SCRIPT else None,
    }


def _git(directory: str, *arguments: str) -> str | None:
    try:
        run = subprocess.run(
            ["git", "-C", directory, *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_GIT_TIMEOUT,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.decode("utf-8", "replace")


# -- instruments


def _not_given(context: QMI_Context | None, given: Iterable[str]) -> list[str]:
    """The addresses of the instruments of a context that runs, without those that the user has given."""
    if context is None:
        return []
    here = [listing.address for listing in context.async_context.objects_here("instrument")]
    return [address for address in here if address not in set(given)]


def snapshots(context: QMI_Context | None, given: Sequence[Any] = (), *, update: bool = False) -> dict[str, Any]:
    """The snapshots of instruments as JSON has them, by address; for one that gives none, the reason.

    Args:
        context: The context whose instruments are asked; each has :data:`SNAPSHOT_TIMEOUT` seconds.
        given: Proxies of further ones, in other programs too, and of those that are locked.
        update: Whether the instruments ask their devices anew.
    """
    proxies = {proxy.address: proxy for proxy in given}
    found: dict[str, Any] = {}
    for address in [*proxies, *_not_given(context, proxies)]:
        try:
            proxy = proxies.get(address)
            if proxy is None:
                assert context is not None
                proxy = context.get_rpc_object(address)
                if proxy.is_locked():
                    found[address] = {"missing": _LOCKED}
                    continue
            found[address] = _plain(proxy.snapshot(update=update, rpc_timeout=SNAPSHOT_TIMEOUT))
        except QMI_UnknownRpcException:  # it has no parameters
            continue
        except Exception as error:
            found[address] = {"missing": f"{type(error).__name__}: {error}"}
    return found


async def snapshots_async(
    context: QMI_Context | None, given: Sequence[Any] = (), *, update: bool = False
) -> dict[str, Any]:
    """The same in a trio program; the proxies that are given are async ones."""
    proxies = {proxy.address: proxy for proxy in given}
    found: dict[str, Any] = {}
    for address in [*proxies, *_not_given(context, proxies)]:
        try:
            with trio.fail_after(SNAPSHOT_TIMEOUT):
                proxy = proxies.get(address)
                if proxy is None:
                    assert context is not None
                    proxy = await context.async_context.get_rpc_object(address)
                    if await proxy.is_locked():
                        found[address] = {"missing": _LOCKED}
                        continue
                found[address] = _plain(await proxy.snapshot(update=update))
        except QMI_UnknownRpcException:
            continue
        except Exception as error:
            found[address] = {"missing": f"{type(error).__name__}: {error}"}
    return found


def _plain(snapshot: object) -> object:
    if isinstance(snapshot, Snapshot):
        return snapshot.to_dict()
    return json.loads(json.dumps(snapshot, default=str))  # of a driver's own method
