"""A program that a command starts, waits for, and ends as."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

from qmi.tools.cli.errors import CommandError

NOT_FOUND = 127
NOT_EXECUTABLE = 126
BY_SIGNAL = 128
_PASSED_ON = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program, and wait for its end.

    SIGTERM and SIGHUP are passed on to it. Ctrl-C of a terminal reaches it anyway, and is for it to decide on.

    Args:
        command: The program and its arguments.
        environment: Its environment.

    Returns:
        Its exit code; of one that was ended by a signal, 128 and the number of that.

    Raises:
        CommandError: If there is no such program, with the code that shells have for that.
    """
    child: subprocess.Popen[bytes] | None = None
    waiting: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        if child is None:  # it is passed on when there is a child
            waiting.append(number)
        else:
            child.send_signal(number)

    with _handled(pass_on):
        try:
            child = subprocess.Popen(command, env=dict(environment))
        except FileNotFoundError:
            raise CommandError(f"there is no program {command[0]!r}", NOT_FOUND) from None
        except OSError as error:
            raise CommandError(f"{command[0]} cannot be run: {error.strerror or error}", NOT_EXECUTABLE) from error
        for number in waiting:
            child.send_signal(number)
        code = child.wait()
    return code if code >= 0 else BY_SIGNAL - code


@contextlib.contextmanager
def _handled(pass_on: signal.Handlers | object) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*_PASSED_ON, signal.SIGINT)}
    for number in _PASSED_ON:
        signal.signal(number, pass_on)  # type: ignore[arg-type]
    # A handler and not SIG_IGN, which the child would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
