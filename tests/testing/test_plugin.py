"""The pytest plugin, in sessions of pytest of their own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = "pytester"
PLUGIN = "qmi.testing.plugin"

DRIVER = '''
import time
import pytest, qmi
from qmi.core.instrument import AsyncTransportInstrument, TransportInstrument
from qmi.core.rpc import rpc_method
from qmi.core.scpi_protocol import AsyncScpiProtocol, ScpiProtocol
from qmi.core.task import QMI_LoopTask
from qmi.testing import NO_ANSWER, record_session, replay

class Supply(TransportInstrument):
    """A supply."""
    def __init__(self, context, name, transport):
        super().__init__(context, name, transport)
        self.scpi = ScpiProtocol(self._transport, default_timeout=60.0)

    @rpc_method
    def get_voltage(self):
        for _ in range(5):
            try:
                return float(self.scpi.ask("VOLT?"))
            except TimeoutError:
                time.sleep(600.0)

class AsyncSupply(AsyncTransportInstrument):
    def __init__(self, context, name, transport):
        super().__init__(context, name, transport)
        self.scpi = AsyncScpiProtocol(self._transport, default_timeout=60.0)

    @rpc_method
    async def get_voltage(self):
        return float(await self.scpi.ask("VOLT?"))
'''


def run(pytester: pytest.Pytester, source: str, *arguments: str, driver: str = DRIVER) -> pytest.RunResult:
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(driver + source)
    # By name: what pytest finds by itself it wants to load by its own loader, and complains that qmi is loaded already.
    plugins = ("--disable-plugin-autoload", "-p", "trio", "-p", PLUGIN)
    return pytester.runpytest_inprocess(*plugins, "-p", "no:cacheprovider", *arguments)


def test_fixtures_serve_tests_of_drivers_and_tasks(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
def test_voltage(qmi_context, scripted):
    assert qmi.context() is qmi_context
    with qmi_context.make_instrument("psu", Supply, scripted([("VOLT?", "5.0")])) as psu:
        assert psu.get_voltage() == 5.0

def test_retries(qmi_context, scripted, simulated_time):
    psu = qmi.make_instrument("psu", Supply, scripted([("VOLT?", NO_ANSWER), ("VOLT?", "5.0")]))
    psu.open()
    assert psu.get_voltage() == 5.0
    assert 660.0 <= simulated_time.now() < 662.0

class Count(QMI_LoopTask):
    def loop_iteration(self):
        self.status = (self.status or 0) + 1

def test_task(task_bench):
    count = task_bench.context.make_task("count", Count, loop_period=1.0)
    count.start()
    task_bench.run(60.0)
    assert count.get_status() == 61

async def test_async(qmi_async_context, scripted):
    transport = scripted.awaited([("VOLT?", "5.0")])
    async with await qmi_async_context.make_instrument("psu", AsyncSupply, transport) as psu:
        assert await psu.get_voltage() == 5.0

def test_recorded(qmi_context, scripted, tmp_path):
    with record_session(tmp_path / "psu.jsonl"):
        with qmi.make_instrument("psu", Supply, scripted([("VOLT?", "5.0")])) as psu:
            psu.get_voltage()
    with qmi.make_instrument("again", Supply, replay(tmp_path / "psu.jsonl")) as psu:
        assert psu.get_voltage() == 5.0

class TestClass:
    @pytest.mark.parametrize("answer", ["1", "2"])
    def test_method(self, qmi_context, scripted, answer):
        with qmi.make_instrument("psu", Supply, scripted([("VOLT?", answer)])) as psu:
            assert psu.get_voltage() == float(answer)
""",
        "-o",
        "trio_mode=true",
    )
    result.assert_outcomes(passed=7)


def test_script_with_steps_left_fails_the_test_and_a_failure_is_not_hidden(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
def test_steps_left(scripted):
    scripted([("VOLT?", "5.0")])

def test_caught(scripted):
    transport = scripted(["VOLT 5"])
    transport.open()
    try:
        transport.write(b"VOLT 6\\n")
    except Exception:
        pass

async def test_async_steps_left(scripted):
    scripted.awaited([("VOLT?", "5.0")])

def test_other_error(qmi_context, scripted):
    with qmi_context.make_instrument("psu", Supply, scripted([("VOLT?", "5.0")])) as psu:
        assert "this" == "that"

@pytest.mark.xfail(strict=True)
def test_expected_to_fail(scripted):
    scripted([("VOLT?", "5.0")])

def test_skipped(scripted):
    scripted([("VOLT?", "5.0")])
    pytest.skip("no device here")
""",
        "-o",
        "trio_mode=true",
    )
    result.assert_outcomes(failed=4, xfailed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "E * qmi.testing.script.ScriptMismatchError: The script is over too early: 1 of 1 step was not used*",
            'E *expected: "VOLT 5\\n"',
            'E *written:  "VOLT 6\\n"',
            "*AssertionError: assert 'this' == 'that'",
        ]
    )
    # The tracebacks alone: where the variable CI is set, pytest's summary at the end holds the text once more.
    told = [line for line in result.outlines if line.startswith("E ") and "Error: The script is over too early" in line]
    assert len(told) == 2
    assert "During handling of the above exception" not in result.stdout.str()


def test_sessions_without_trio_and_without_tests_of_devices_are_not_disturbed(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import sys

def test_other():
    assert 1 + 1 == 2

def test_script(qmi_context, scripted):
    with qmi_context.make_instrument("psu", Supply, scripted([("VOLT?", "5.0")])) as psu:
        assert psu.get_voltage() == 5.0

@pytest.fixture
def simulated():
    return "my own"

def test_own_fixture_of_that_name(simulated):
    assert simulated == "my own"
""",
        "-p",
        "no:trio",
    )
    result.assert_outcomes(passed=3)


def test_plugin_costs_next_to_nothing() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import qmi.testing.plugin; "
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before} - {'qmi', '__future__'})); "
        "print(*sorted(m for m in sys.modules if m.startswith('qmi')))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    others, own = run.stdout.split("\n")[:2]
    assert others == ""
    assert set(own.split()) <= {
        *("qmi", "qmi._distributions", "qmi._version", "qmi.core", "qmi.core.exceptions", "qmi.errors"),
        *("qmi.testing", "qmi.testing.plugin", "qmi_trio_guard"),
    }


def test_plugin_is_an_entry_point() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"qmi": PLUGIN}
