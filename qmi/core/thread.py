"""Threads that can be asked to end, for programs that start their own."""

from __future__ import annotations

import threading

from qmi.core.exceptions import QMI_WrongThreadException

__all__ = ["QMI_Thread", "check_in_main_thread"]


class QMI_Thread(threading.Thread):
    """A thread that can be asked to end. A subclass writes :meth:`run` and looks at ``_shutdown_requested``.

    It is a daemon: a program that ends does not wait for it. Its owner calls :meth:`shutdown` and ``join()``.

    Attributes:
        _shutdown_requested: Whether it was asked to end.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._shutdown_requested = False

    def run(self) -> None:
        """What the thread does."""
        raise NotImplementedError(f"{type(self).__name__} has no run()")

    def shutdown(self) -> None:
        """Ask the thread to end; from any thread, as often as you like."""
        self._shutdown_requested = True
        self._request_shutdown()

    def _request_shutdown(self) -> None:
        """Wake the thread from whatever it waits for; a subclass overrides this."""


def check_in_main_thread() -> None:
    """Refuse to go on in any thread but the main one.

    Raises:
        QMI_WrongThreadException: If this is another one.
    """
    current = threading.current_thread()
    if current is not threading.main_thread():
        raise QMI_WrongThreadException(f"This must be called in the main thread; it was called in {current.name!r}")
