"""Queues and those who give scans to them, in programs of their own that are killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.outside import wait_for_end
from tests.support.programs import Program

pytestmark = pytest.mark.slow

LAB = """
import logging, qmi, threading
from qmi.core.context import QMI_Context
from qmi.scan import ScanQueue
from tests.support.lab import address, make_context
from tests.support.scan_functions import GO_ON, HOOKS, SET_TO
from tests.support.supplies import Supply
logging.basicConfig(level=logging.INFO)
context = make_context("lab")
context.start()
psu = context.make_instrument("psu", Supply)
queue = context.make_task("scans", ScanQueue, modules=["tests.support.scan_functions"])
"""

CLIENT = """
import qmi
from qmi.scan import scan
from tests.support.scan_functions import get_slowly, set_position, switch_off
qmi.start("notebook", None)
qmi.context().connect_to_peer("lab", {address!r})
psu = qmi.get_instrument("lab.psu")
"""

SUBMIT = """
made = scan([psu.parameters.maximum, set_position], [(1.0, 1), (2.0, 2)], run="iv").measure(get_slowly)
made.finally_call(switch_off).submit("lab.scans", comment="overnight").id
"""


@pytest.fixture
def home(tmp_path: Path) -> str:
    return str(tmp_path)


def test_scan_goes_on_when_the_program_that_submitted_it_is_killed(home: str) -> None:
    with Program(QMI_HOME=home) as lab:
        lab.run(LAB + "queue.start()")
        with Program() as notebook:
            notebook.run(CLIENT.format(address=lab.run("address(context)")))
            assert notebook.run(SUBMIT) == "scans-1"
            lab.wait_until("queue.get_scan('scans-1').state == 'running' and SET_TO")
        lab.wait_until("not context.has_peer_context('notebook')")
        lab.run("GO_ON.set()")
        assert lab.run("tuple(queue.get_outcome('scans-1'))[:7]")[2:6] == ("done", "", 2, 2)
        assert lab.run("SET_TO") == [1, 2, "off"]


def test_queue_of_a_program_that_is_killed_goes_on_in_the_next_one(home: str) -> None:
    with Program(QMI_HOME=home) as lab:
        lab.run(LAB + "queue.start()")
        with Program() as notebook:
            notebook.run(CLIENT.format(address=lab.run("address(context)")))
            notebook.run(SUBMIT)
            lab.wait_until("SET_TO")
            assert notebook.run(SUBMIT) == "scans-2"
            os.kill(lab.pid, signal.SIGKILL)
            wait_for_end(lab.pid)
    with Program(QMI_HOME=home) as lab:
        lab.run(LAB)
        assert lab.run("[(info.id, info.state) for info in queue.list_scans()]") == [
            ("scans-1", "interrupted"),
            ("scans-2", "waiting"),
        ]
        lab.run("GO_ON.set(); queue.start()")
        assert lab.run("queue.get_outcome('scans-2').state") == "done"


def test_queue_of_a_program_that_is_told_to_end_ends_its_scan_in_order(home: str) -> None:
    with Program(QMI_HOME=home) as lab:
        lab.run(LAB + "queue.start()\nHOOKS['switch_off'] = lambda: print('it is off')")
        with Program() as notebook:
            notebook.run(CLIENT.format(address=lab.run("address(context)")))
            notebook.run(SUBMIT + SUBMIT)
            lab.wait_until("SET_TO")
            lab.run(
                "threading.Thread(target=lambda: (context.wait_until_shutdown(), GO_ON.set()), daemon=True).start()"
            )
            os.kill(lab.pid, signal.SIGTERM)
            wait_for_end(lab.pid)
            lab.kill()
        assert "it is off" in lab.errors
    with Program(QMI_HOME=home) as lab:
        lab.run(LAB)
        states = lab.run("[(info.id, info.state, info.reason) for info in queue.list_scans()]")
        assert states == [("scans-1", "interrupted", "the queue was stopped while it ran"), ("scans-2", "waiting", "")]
