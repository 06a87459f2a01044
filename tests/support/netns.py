"""Network namespaces joined by cables, one of which can be pulled. Needs root and iproute2; tests skip elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Side:
    """One namespace.

    Args:
        name: Its name.
        host: Its address on the cable.
    """

    def __init__(self, name: str, host: str) -> None:
        self.name = name
        self.host = host

    @property
    def prefix(self) -> Sequence[str]:
        """Command that runs another one inside."""
        return ["ip", "netns", "exec", self.name]


class Cable:
    """The pair of namespaces."""

    broadcast = "10.213.7.255"

    def __init__(self, tag: str) -> None:
        self.left = Side(f"qmi{tag}a", "10.213.7.1")
        self.right = Side(f"qmi{tag}b", "10.213.7.2")
        self._devices = (f"qv{tag}a", f"qv{tag}b")

    def lay(self) -> None:
        """Make the namespaces and join them."""
        for side in (self.left, self.right):
            _ip("netns", "add", side.name)
            _ip("-n", side.name, "link", "set", "lo", "up")
        first, second = self._devices
        _ip("link", "add", first, "netns", self.left.name, "type", "veth", "peer", second, "netns", self.right.name)
        for side, device in zip((self.left, self.right), self._devices, strict=True):
            _ip("-n", side.name, "address", "add", f"{side.host}/24", "broadcast", self.broadcast, "dev", device)
            _ip("-n", side.name, "link", "set", device, "up")

    def pull(self) -> None:
        """Take the link down."""
        _ip("-n", self.left.name, "link", "set", self._devices[0], "down")

    def plug(self) -> None:
        """Take it up again."""
        _ip("-n", self.left.name, "link", "set", self._devices[0], "up")

    def remove(self) -> None:
        """Undo everything."""
        for side in (self.left, self.right):
            subprocess.run(["ip", "netns", "delete", side.name], check=False, capture_output=True)


class Star:
    """Namespaces that reach one in the middle, and not each other.

    Attributes:
        middle: The one that all reach; its host is its address on the first cable.
        ends: The others.
    """

    def __init__(self, tag: str, count: int) -> None:
        self.middle = Side(f"qmi{tag}m", "10.213.20.1")
        self.ends = [Side(f"qmi{tag}e{number}", f"10.213.{20 + number}.2") for number in range(count)]
        self._tag = tag

    def lay(self) -> None:
        """Make the namespaces and their cables."""
        for side in (self.middle, *self.ends):
            _ip("netns", "add", side.name)
            _ip("-n", side.name, "link", "set", "lo", "up")
        for number, side in enumerate(self.ends):
            near, far = f"qs{self._tag}{number}m", f"qs{self._tag}{number}e"
            _ip("link", "add", near, "netns", self.middle.name, "type", "veth", "peer", far, "netns", side.name)
            for owner, device, last in ((self.middle, near, 1), (side, far, 2)):
                _ip("-n", owner.name, "address", "add", f"10.213.{20 + number}.{last}/24", "dev", device)
                _ip("-n", owner.name, "link", "set", device, "up")
            if number:  # the middle passes nothing on, so that only its own address is reached by this
                _ip("-n", side.name, "route", "add", f"{self.middle.host}/32", "dev", far)

    def remove(self) -> None:
        """Undo everything."""
        for side in (self.middle, *self.ends):
            subprocess.run(["ip", "netns", "delete", side.name], check=False, capture_output=True)


@contextmanager
def cable() -> Iterator[Cable]:
    """Two namespaces for the length of a block; skips the test where they cannot be made."""
    made = Cable(_tag())
    with _laid(made):
        yield made


@contextmanager
def star(count: int = 2) -> Iterator[Star]:
    """The same with one in the middle, which alone is reached by so many others."""
    made = Star(_tag(), count)
    with _laid(made):
        yield made


def _tag() -> str:
    return f"{os.getpid() % 100_000}"


@contextmanager
def _laid(made: Cable | Star) -> Iterator[None]:
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("making network namespaces needs root")
    if shutil.which("ip") is None:
        pytest.skip("making network namespaces needs the command 'ip' (iproute2)")
    try:
        made.lay()
    except subprocess.CalledProcessError as error:
        made.remove()
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
    try:
        yield
    finally:
        made.remove()
