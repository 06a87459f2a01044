"""A thousand light contexts at a site: they join, are listed, and a quarter of them is killed.

"join": seconds until all have joined and are listed, while each hears of all others. "listed": milliseconds until a
context knows all thousand, with their objects, the middle of several. "noticed": seconds from the kill until it has
heard of the end of each of the 250; they are not listed any more then.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

CONTEXTS = 1000
PROCESSES = 4
_ASKED = 9
_PATIENCE = 30.0


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import trio

    return trio.run(_measure)


async def _measure() -> Figures:
    import trio

    from benchmarks.site.server import bench_server
    from benchmarks.web.stage import helper
    from qmi.config.loader import load_config
    from qmi.contexts.async_context import Context

    each = CONTEXTS // PROCESSES
    with ExitStack() as stack:
        server = stack.enter_context(bench_server())
        async with Context("desk", load_config(server.config)).running() as desk:
            membership = desk.at_site.membership
            assert membership is not None
            attendance = membership.attendance
            gone: set[str] = set()
            all_gone = trio.Event()

            def note_end(context: str, incarnation: str) -> None:
                gone.add(context)
                if len(gone) == each:
                    all_gone.set()

            attendance.on_gone.append(note_end)
            begin = time.monotonic()
            crowds = [
                stack.enter_context(helper("benchmarks.site.crowd", str(server.port), str(place * each), str(each)))
                for place in range(PROCESSES)
            ]
            for crowd in crowds:
                await trio.to_thread.run_sync(crowd.answer)
            # A server is busy with telling everybody of everybody for a while.
            while len(await _listed(attendance)) < CONTEXTS + 1:
                pass
            join = time.monotonic() - begin
            times = []
            for _ in range(_ASKED):
                begin = time.monotonic()
                found = [one for one in await attendance.who() if one.said is not None]
                times.append(time.monotonic() - begin)
                if len(found) != CONTEXTS + 1:
                    raise RuntimeError(f"{len(found)} of {CONTEXTS} contexts were listed")
            begin = time.monotonic()
            crowds[0].process.kill()
            with trio.fail_after(_PATIENCE):
                await all_gone.wait()
            noticed = time.monotonic() - begin
            if len(await attendance.who()) != CONTEXTS - each + 1:
                raise RuntimeError("contexts that are gone are listed")
    return {"join": join, "listed": statistics.median(times) * 1e3, "noticed": noticed}


async def _listed(attendance: Any) -> list[Any]:
    from qmi.errors import QMI_TimeoutException

    try:
        return [one for one in await attendance.who() if one.said is not None]
    except QMI_TimeoutException:
        return []


MEASURE = Measure(
    title="a thousand contexts at a site: joined (s), listed (ms), a quarter of them killed and noticed (s)",
    unit="s, ms",
    runs=("ours",),
    goals=(Goal(figure="listed", at_most=100.0), Goal(figure="noticed", at_most=2.0)),
    measure=measure,
)
