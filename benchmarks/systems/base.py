"""What a system can be asked to do; each does what it can, and no measure asks it for more."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any


class Target:
    """An object that can be called."""

    def call(self) -> object:
        """Call a method that does nothing, and wait for its answer."""
        raise NotImplementedError

    def flight(self, count: int) -> None:
        """Have so many calls under way at once, and wait for all answers."""
        raise NotImplementedError

    def echo(self, array: Any) -> Any:
        """Send a numpy array there and get it back."""
        raise NotImplementedError


class Recording:
    """Where rows are put."""

    def add(self, row: list[float]) -> None:
        """Add a row, a value for each column."""
        raise NotImplementedError

    def make_safe(self) -> None:
        """Have all rows where the end of the program cannot harm them, unless each is there when it was added."""


class System:
    """A library, or a floor that no library can be below.

    Attributes:
        module: What a program imports to use it.
    """

    module = ""

    @property
    def name(self) -> str:
        """What command lines call it: the name of its module here."""
        return type(self).__module__.rpartition(".")[2]

    def local(self, variant: str) -> AbstractContextManager[Target]:
        """An object in this process."""
        raise NotImplementedError

    def serving(self, variant: str) -> AbstractContextManager[str]:
        """Have an object that other processes can call; gives where."""
        raise NotImplementedError

    def remote(self, address: str) -> AbstractContextManager[Target]:
        """That object, as another process has it."""
        raise NotImplementedError

    def recording(self, variant: str, columns: list[str]) -> AbstractContextManager[Recording]:
        """Record rows in the working directory."""
        raise NotImplementedError

    def local_async(self) -> AbstractAsyncContextManager[Any]:
        """An object in this process whose ``nothing()`` is awaited."""
        raise NotImplementedError

    def remote_async(self, address: str) -> AbstractAsyncContextManager[Any]:
        """The object of another process, likewise."""
        raise NotImplementedError
