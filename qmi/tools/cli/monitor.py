"""``qmi monitor``: signals and parameters of objects, as they come."""

from __future__ import annotations

from argparse import Namespace
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from qmi.errors import QMI_UsageException
from qmi.names import parse_member
from qmi.tools.cli.errors import EXIT_FAILED, EXIT_OK
from qmi.tools.cli.options import CommandParser, positive_count, positive_seconds
from qmi.tools.cli.session import laboratory
from qmi.tools.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmi.tools.cli.news import News, NewsStream

DESCRIPTION = """
Print signals and parameters of objects as they come, until Ctrl-C:

  qmi monitor lab.psu.voltage
  qmi monitor lab.reg.sig_status_updated "lab.psu.*"

A parameter that its driver publishes by itself comes as it is published; others are asked for again and again, and
come as well when somebody sets them. At a site, what was published last comes first. It is told where signals are
missing, and when a link is lost and restored.
--plot draws the values.
"""

_INTERVAL = 1.0


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("paths", nargs="+", metavar="CONTEXT.OBJECT.NAME", help="signals and parameters; * fits any")
    parser.add_argument("-n", "--count", type=positive_count, metavar="N", help="end after so many values")
    parser.add_argument("--interval", type=positive_seconds, metavar="S",
                        help=f"ask for parameters each S seconds ({_INTERVAL:g} if not published)")  # fmt: skip
    parser.add_argument("--plot", action="store_true", help="draw them in the terminal, instead of printing them")


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code: 1 if nothing can come any more."""
    from qmi.tools.cli.news import NewsStream

    wanted = [parse_member(path) for path in arguments.paths]
    if arguments.plot:
        from qmi.tools.cli.monitor_plot import check_library

        check_library()
        if terminal.json:
            raise QMI_UsageException("--plot and --json do not go together")
    # The signals go through a context that restores lost links.
    with laboratory(arguments, reconnect=True) as lab, suppress(KeyboardInterrupt):
        with NewsStream(lab.proxy, arguments.interval, _INTERVAL, last=lab.config.site.enabled) as stream:
            for address, pattern in wanted:
                stream.add(address, pattern)
            if not stream.names:
                raise QMI_UsageException("there is nothing to monitor")
            if _show(stream, arguments, terminal):
                return EXIT_OK
        terminal.error("nothing can come any more: the objects are gone")
        return EXIT_FAILED
    return EXIT_OK


def _show(stream: NewsStream, arguments: Namespace, terminal: Terminal) -> bool:
    """Show what comes; False if nothing can come any more."""
    if arguments.plot:
        from qmi.tools.cli.monitor_plot import LivePlot

        with LivePlot(stream.columns, terminal.out) as plot:
            return _take(stream, plot.add, arguments.count)
    width = max(map(len, stream.names))
    return _take(stream, lambda news: _print(news, width, terminal), arguments.count)


def _take(stream: NewsStream, show: Callable[[News], None], left: int | None) -> bool:
    for news in stream:
        show(news)
        if news.is_value and left is not None:
            left -= 1
            if not left:
                return True
    return False


def _print(news: News, width: int, terminal: Terminal) -> None:
    if terminal.json:
        terminal.write_json(news.as_json(), line=True)
        return
    moment = datetime.fromtimestamp(news.time).astimezone()
    clock = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"
    terminal.write(f"{clock}  {news.name:<{width}}  {news.text()}".rstrip())
    terminal.flush()
