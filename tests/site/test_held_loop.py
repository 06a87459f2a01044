"""A program whose event loop is held up, as by a driver that blocks in it: it leaves its site, and comes back."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from qmi.config.loader import load_config
from qmi.core.context import QMI_Context
from tests.support.programs import Program
from tests.support.site_lab import site, write_site
from tests.support.site_signals import Horn, follow, told

SILENCE = 1.5

HELD_UP = """
import threading
from qmi.config.loader import load_config
from qmi.core.context import QMI_Context
from tests.support.site_signals import Horn, follow, told
c = QMI_Context({name!r}, load_config({path!r}))
c.start()
is_held, gate = threading.Event(), threading.Event()
def hold_up():
    is_held.set()
    gate.wait()
"""


@pytest.mark.slow
@pytest.mark.parametrize("held_up", ["desk", "lab"])
def test_program_whose_loop_is_held_up_is_gone_in_time_and_misses_nothing(tmp_path: Path, held_up: str) -> None:
    contexts = {name: {"host": "127.0.0.1", "tcp_server_port": 0} for name in ("lab", "desk")}
    path = write_site(tmp_path, contexts=contexts, limits={"peer_timeout": SILENCE})
    free = "lab" if held_up == "desk" else "desk"
    with site(path), Program() as program, QMI_Context(free, load_config(path)) as context:
        program.run(HELD_UP.format(name=held_up, path=str(path)))
        if held_up == "desk":
            horn = context.make_instrument("horn", Horn)
            program.run("receiver = follow(c)")
        else:
            program.run("horn = c.make_instrument('horn', Horn)")
            receiver = follow(context)

        def blow(begin: int, end: int) -> None:
            if held_up == "desk":
                horn.blow_many(begin, end)
            else:
                program.run(f"horn.blow_many({begin}, {end})")

        def heard(count: int) -> object:
            return program.run(f"told(receiver, {count})") if held_up == "desk" else told(receiver, count)

        blow(0, 3)
        assert heard(3) == [0, 1, 2]
        is_gone, is_back = threading.Event(), threading.Event()
        membership = context.async_context.at_site.membership
        assert membership is not None
        membership.attendance.on_gone.append(lambda name, incarnation: is_gone.set())
        membership.attendance.on_here.append(lambda name, incarnation: is_back.set())
        begun = time.monotonic()
        program.run("c.async_context.loop.soon(hold_up)\nassert is_held.wait(10)")
        assert is_gone.wait(20.0)
        assert time.monotonic() - begun < SILENCE + 0.5
        blow(3, 6)
        program.run("gate.set()")
        assert is_back.wait(20.0)
        assert heard(5) == ["lost", "resumed", 3, 4, 5]
        blow(6, 8)
        assert heard(2) == [6, 7]
