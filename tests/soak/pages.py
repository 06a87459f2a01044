"""Whether the pages can be looked at for as long as anybody likes: what is held each second, and when that has failed.

    python -m tests.soak.pages [--seconds 1800] [--browsers 20]

A measuring program, the command ``qmi web`` and a Chromium that shows ten live plots are processes of their own;
beside them many streams of events are read, one browser stops reading again and again, and each second one comes and
leaves. Processor time, memory and descriptors of each are noted, and the heap of the page after a collection.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import psutil
from playwright.sync_api import CDPSession, Page
from rich.console import Console
from rich.table import Table

from benchmarks.web.chromium import chromium
from benchmarks.web.stage import Helper, Meter, helper, laboratory, pages, topics

RATE = 20.0
PLOTS = 10
STALLS = 40.0
"""For how long a browser reads nothing, in seconds; it is dropped before that."""
PER_VALUE = 14
"""Bytes of the page's heap that a value of a plot may take: plots keep what they have shown."""
MIB = 1 << 20


class Size(NamedTuple):
    """How large everything is.

    Attributes:
        server: Memory of the server that nobody else has, in bytes.
        server_files: Its descriptors.
        measuring: Memory of the measuring program.
        measuring_files: Its descriptors.
        heap: Heap of the page without the values of its plots, in bytes.
        nodes: Nodes of documents in the page's process.
        listeners: Listeners in the page's process.
    """

    server: int
    server_files: int
    measuring: int
    measuring_files: int
    heap: int
    nodes: int
    listeners: int


LIMITS = Size(
    server=12 * MIB, server_files=4, measuring=8 * MIB, measuring_files=4, heap=3 * MIB, nodes=200, listeners=50
)
"""By how much each may grow, whatever the time."""


def growth(sizes: Sequence[Size], limits: Size = LIMITS) -> list[str]:
    """What has grown: the middle of the last third beside that of the first."""
    third = max(1, len(sizes) // 3)
    faults = []
    for place, (name, limit) in enumerate(zip(Size._fields, limits, strict=True)):
        old, new = (statistics.median(size[place] for size in part) for part in (sizes[:third], sizes[-third:]))
        if new > old + limit:
            faults.append(f"{name.replace('_', ' ')} grew from {old:,.0f} to {new:,.0f}, and may grow by {limit:,}")
    return faults


class Passers:
    """Browsers that come and leave, and one that stops reading.

    Args:
        url: Where the server is.
        names: What they want.
    """

    def __init__(self, url: str, names: Sequence[str]) -> None:
        self._where = urlsplit(url)
        query = urlencode([("topic", name) for name in names])
        self._request = f"GET /api/events?{query} HTTP/1.1\r\nHost: {self._where.netloc}\r\n\r\n".encode()
        self._stopped = self._come()
        self._since = time.monotonic()
        self.left = 0
        self.stalls = 0

    def _come(self) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        made.connect((self._where.hostname, self._where.port))
        made.sendall(self._request)
        return made

    def pass_by(self) -> None:
        """One comes, reads something and leaves; the one that reads nothing comes anew when it was dropped."""
        with self._come() as passer:
            passer.settimeout(20.0)
            assert passer.recv(1)
        self.left += 1
        if time.monotonic() - self._since > STALLS:
            self.stalls += 1
            self._stopped.close()
            self._stopped = self._come()
            self._since = time.monotonic()

    def close(self) -> None:
        """The one that reads nothing leaves."""
        self._stopped.close()


class Shown:
    """A page with live plots.

    Args:
        page: The page.
        url: Where the server is.
    """

    def __init__(self, page: Page, url: str) -> None:
        plots = [f"plot=lab.meter{number}.sig_v0,lab.meter{number}.sig_v1@60" for number in range(PLOTS)]
        page.goto(f"{url}plots?{'&'.join(plots)}")
        self.page = page
        self._devtools: CDPSession = page.context.new_cdp_session(page)
        self._devtools.send("Performance.enable")

    def _sum(self, of_plot: str) -> int:
        return int(self.page.evaluate(f"window.qmiPlots.reduce((sum, plot) => sum + {of_plot}, 0)"))

    def drawings(self) -> int:
        """How many pictures were drawn so far."""
        return self._sum("plot.drawings")

    def size(self) -> tuple[int, int, int]:
        """Heap without the values of plots, nodes and listeners, after a collection."""
        self._devtools.send("HeapProfiler.collectGarbage")
        heap = self._devtools.send("Runtime.getHeapUsage")["usedSize"]
        metrics = {entry["name"]: entry["value"] for entry in self._devtools.send("Performance.getMetrics")["metrics"]}
        kept = self._sum("plot.rows.length * plot.rows[0].length")
        return int(heap) - PER_VALUE * kept, int(metrics["Nodes"]), int(metrics["JSEventListeners"])


def _held(pid: int) -> tuple[int, int]:
    process = psutil.Process(pid)
    return process.memory_full_info().uss, process.num_fds()


class Report(NamedTuple):
    """What a soak found.

    Attributes:
        faults: What did not hold.
        sizes: Sizes, after the beginning.
        shares: Per cent of a processor, by program.
        counts: What else was counted.
    """

    faults: list[str]
    sizes: list[Size]
    shares: Mapping[str, float]
    counts: Mapping[str, float]


def soak(seconds: float, browsers: int, say: Callable[[str], None] = lambda text: None) -> Report:
    """Look at the pages for a while.

    Args:
        seconds: For how long.
        browsers: How many streams are read beside the page.
        say: Told now and then how it goes.
    """
    with _stage(browsers) as (lab, server, others, shown, passers):
        warm, step = seconds / 4, max(1.0, seconds / 60)
        begin = time.monotonic()
        sizes: list[Size] = []
        meter, drawn, measured = None, 0, 0.0
        while (now := time.monotonic()) < begin + seconds:
            passers.pass_by()
            if now > begin + warm:
                if meter is None:
                    meter, drawn, measured = Meter([server, lab.pid, others.pid]), shown.drawings(), now
                if now > begin + warm + len(sizes) * step:
                    sizes.append(Size(*_held(server), *_held(lab.pid), *shown.size()))
                    say(f"{now - begin:5.0f} s  {_told(sizes[-1])}")
            shown.page.wait_for_timeout(1000)
        assert meter is not None
        shares = dict(zip(("server", "measuring program", "browsers"), meter.shares(), strict=True))
        pictures = (shown.drawings() - drawn) / (time.monotonic() - measured) / PLOTS
        counts = {**others.ask("count 2"), "pictures": pictures, "left": passers.left, "stalls": passers.stalls}
    faults = growth(sizes)
    if counts["pushes"] < browsers * len(topics("signals")):  # however busy the machine is
        faults.append(f"at the end, all browsers together got {counts['pushes']:.0f} pushes a second")
    if not pictures:
        faults.append("at the end, no picture was drawn")
    return Report(faults, sizes, shares, counts)


@contextmanager
def _stage(browsers: int) -> Iterator[tuple[Helper, int, Helper, Shown, Passers]]:
    """The measuring program, the server, the streams that are read, the page, and who passes by."""
    names = topics("signals")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.callback(os.chdir, Path.cwd())
        os.chdir(folder)
        lab, port = stack.enter_context(laboratory("signals", rate=RATE))
        served = stack.enter_context(pages(port))
        others = stack.enter_context(helper("benchmarks.web.browsers", served.url, *names))
        others.ask(f"open {browsers}")
        page = stack.enter_context(chromium()).new_page(viewport={"width": 1280, "height": 3000})
        passers = Passers(served.url, names)
        stack.callback(passers.close)
        yield lab, served.pid, others, Shown(page, served.url), passers


def _told(size: Size) -> str:
    amounts = [f"{name} {value / MIB:.1f} MiB" for name, value in zip(Size._fields, size, strict=True) if value > MIB]
    others = [f"{name} {value}" for name, value in zip(Size._fields, size, strict=True) if value <= MIB]
    return ", ".join(amounts + others).replace("_", " ")


def main(arguments: list[str]) -> int:
    """Return 0 if all held, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.pages", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--browsers", type=int, default=20)
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    report = soak(options.seconds, options.browsers, console.print)
    table = Table("", "after the beginning", "at the end", "may grow by")
    third = max(1, len(report.sizes) // 3)
    for place, name in enumerate(Size._fields):
        parts = (report.sizes[:third], report.sizes[-third:])
        middles = [statistics.median(size[place] for size in part) for part in parts]
        cells = [
            f"{value / MIB:.2f} MiB" if LIMITS[place] > MIB else f"{value:.0f}" for value in (*middles, LIMITS[place])
        ]
        table.add_row(name.replace("_", " "), *cells)
    console.print(table)
    console.print("of a core: " + ", ".join(f"{name} {share:.1f} %" for name, share in report.shares.items()))
    console.print("a second: " + ", ".join(f"{name} {value:.4g}" for name, value in report.counts.items()))
    for fault in report.faults:
        console.print(fault, style="red", markup=False)
    console.print("failed" if report.faults else "all held", style="bold red" if report.faults else "bold green")
    return int(bool(report.faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
