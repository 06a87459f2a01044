"""The program that draws a run, started by ``run.plot()`` and ``qmi.data.plot()``; its input says what to draw."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qmi.data.follower import follow
from qmi.data.plot_process import PlotOrder
from qmi.data.plot_show import File, Frames, Window, draw_until_end, standard_terminal
from qmi.errors import QMI_Exception
from qmi.names import CLI_PREFIX
from qmi.runtime.priority import give_way

if TYPE_CHECKING:
    from qmi.core.context import QMI_Context


def linked(order: PlotOrder) -> AbstractContextManager[QMI_Context | None]:
    """A context of this program that is connected to the one that the run is followed from, if it is."""
    if not order.context:
        return nullcontext()
    import qmi
    from qmi.config.loader import load_config
    from qmi.proc.control_client import SocketLink

    file = order.config_file or None
    # With certificates, a program goes by the name of its own; else by one that nobody else has.
    name = SocketLink(load_config(file)).certified_name or f"{CLI_PREFIX}{secrets.token_hex(4)}"
    context = qmi.start(name, file, init_logging=False, context_cfg={name: {}})
    try:
        context.connect_to_peer(order.context, order.address or None, ignore_duplicate=True, reconnect=True)
    except BaseException:
        context.stop()
        raise
    return context


def draw(order: PlotOrder) -> None:
    """Draw until the run has ended, or the window was closed."""
    with linked(order), follow(order.run, folder=order.folder or None, context=order.context or None) as follower:
        if order.target == "window":
            Window(follower, order).run()
        elif order.target == "file":
            draw_until_end(follower, order, File(Path(order.file)))
        elif order.target == "pipe":
            draw_until_end(follower, order, Frames(sys.stdout.buffer, text=order.text))
        else:
            draw_until_end(follower, order, standard_terminal(pinned=True))


def main() -> int:
    """Run the program; returns its exit code."""
    order = PlotOrder.from_json(sys.stdin.read())
    give_way()
    try:
        draw(order)
    except BrokenPipeError:  # whoever looked is gone
        return _leave(0)
    except (QMI_Exception, OSError, ValueError, RuntimeError, ImportError) as error:
        with suppress(OSError):
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - its only way to say so
        return _leave(1)
    return _leave(0)


def _leave(code: int) -> int:
    # What is left in the buffers of a pipe that is gone must not be an error once more.
    with suppress(OSError):
        sys.stdout.flush()
        return code
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    sys.exit(main())
