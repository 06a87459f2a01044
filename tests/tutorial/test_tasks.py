"""Every variant of ``task_demo.py`` and ``demo_task.py`` in the tutorial, in one program and in two.

The tutorial shows most variants as changes to the first one, with ``...`` for what stays. Here they are put together:
what the tutorial leaves out is added, what it has in the wrong place moved, and waiting is made shorter.
"""

from __future__ import annotations

import re
import textwrap
from typing import NamedTuple

import pytest

from tests.support.desk import CONTEXT, NUMBER, STAMP, Desk
from tests.support.ports import free_port
from tests.support.tutorial import Tutorial

TASK, LOOP, RPC = "Making a QMI task", "Using the QMI_LoopTask to make a task", "Tasks and RPC methods"

IMPORTS = """
from qmi.core.task import QMI_TaskRunner
from qmi.core.rpc import rpc_method
from qmi.utils.context_managers import start_stop_join
"""

STARTED = "the task has been started\n"
STOPPED = "the task has been stopped\n"
BEGUN = "starting the background task\n"
AMPLITUDES = rf"(amplitude = {NUMBER}\n){{5}}"
SAMPLES = rf"(sample = {NUMBER} amplitude = {NUMBER}\n){{5}}"

WARNING = rf"{STAMP} \| WARNING +\| qmi\.core\.task +\| Task task was stopped where it waited\n"
TRACE = r"Traceback \(most recent call last\):\n(  .*\n)+"
STOP = r"qmi\.core\.exceptions\.QMI_TaskStopException: .*\n"


class Variant(NamedTuple):
    """One pair of files.

    Attributes:
        task: ``demo_task.py``.
        script: ``task_demo.py``.
        printed: What running it prints, as a regular expression.
        logged: What it logs.
    """

    task: str
    script: str
    printed: str
    logged: str = WARNING + TRACE + STOP


def replaced(text: str, old: str, new: str) -> str:
    assert old in text, f"{old!r} is not in the tutorial's text"
    return text.replace(old, new)


def edited(script: str, block: str) -> str:
    """The first script, with another block from the making of the task to its end."""
    begin = script.index("            task = qmi.make_task(")
    end = script.index('print("the task has been stopped")\n') + len('print("the task has been stopped")\n')
    return script[:begin] + block + script[end:]


def quick(script: str) -> str:
    return replaced(script, "time.sleep(1)", "time.sleep(0.15)")


def plain(tutorial: Tutorial) -> Variant:
    section = tutorial[TASK]
    # Which of the two is first to print is a matter of chance.
    printed = f"({BEGUN}{STARTED}|{STARTED}{BEGUN}){AMPLITUDES}{STOPPED}"
    return Variant(section.file("demo_task.py"), quick(section.file("task_demo.py")), printed)


def loop(tutorial: Tutorial) -> Variant:
    first, section = plain(tutorial), tutorial[LOOP]
    task = "import qmi\n" + section.literal("class DemoLoopTask")
    imports, block = section.literal("policy=QMI_LoopTaskMissedLoopPolicy.SKIP").split("...\n")
    script = edited(replaced(first.script, "from demo_task import DemoTask\n", imports), block)
    # How many periods were missed is in the log, in few lines.
    missed = rf"({STAMP} \| WARNING +\| qmi\.core\.task +\| Task task: .* missed .*\n){{0,5}}"
    return Variant(task, script, f"{STARTED}{AMPLITUDES}{STOPPED}", missed)


def custom_runner(tutorial: Tutorial, factor: str = "1.0") -> Variant:
    first, section = plain(tutorial), tutorial[RPC]
    begin, _, last = section.literal("self.amplitude_factor = amplitude_factor").split("...\n")
    constructor = textwrap.indent(textwrap.dedent(begin), "    ")
    task = replaced(first.task, "class DemoTask(QMI_Task):\n", f"class DemoTask(QMI_Task):\n\n{constructor}")
    task = replaced(task, "nsg.set_amplitude(amplitude)", last.strip())
    block = section.literal("task_runner=CustomTaskRunner)").removeprefix("...\n")
    block = re.sub(r' +print\("the task has been stopped"\)', '            print("the task has been stopped")', block)
    block = replaced(block, "set_amplitude_factor(1.0)", f"set_amplitude_factor({factor})")
    runner = section.literal("class CustomTaskRunner(")
    script = replaced(edited(first.script, quick(block)), "def main():", f"{IMPORTS}\n{runner}\ndef main():")
    return first._replace(task=task, script=script)


def controlled(tutorial: Tutorial) -> Variant:
    section = tutorial[RPC]
    task = replaced(section.file("demo_task.py"), "self.sleep(1.0)", "self.sleep(0.05)")
    script = quick(section.file("task_demo.py"))
    script = replaced(
        script, "from demo_task import DemoTask\n", f"from demo_task import DemoRpcControlTask\n{IMPORTS}"
    )
    printed = f"({BEGUN}{STARTED}|{STARTED}{BEGUN}){SAMPLES}{STOPPED}"
    return Variant(task, script, printed)


VARIANTS = [plain, loop, custom_runner, controlled]


def untangled(printed: str) -> str:
    """The same with what the task says at its beginning first.

    It may come at any time, and amid another line: print() writes a text and the end of its line one after the other.
    """
    text = BEGUN.rstrip("\n")
    assert printed.count(text) == 1, printed
    return BEGUN + re.sub(r"\n+", "\n", printed.replace(text, "")).lstrip("\n")


@pytest.mark.parametrize("make", VARIANTS)
def test_tasks_in_one_program(make: object, tutorial: Tutorial, desk: Desk) -> None:
    assert callable(make)
    variant: Variant = make(tutorial)
    desk.write("demo_task.py", variant.task)
    desk.write("task_demo.py", variant.script)
    (command,) = tutorial[TASK].commands
    run = desk.run(command)
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(variant.printed, run.stdout) or re.fullmatch(variant.printed, untangled(run.stdout)), run.stdout
    assert re.fullmatch(variant.logged, run.stderr), run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("make", VARIANTS)
def test_tasks_in_another_program(make: object, tutorial: Tutorial, desk: Desk) -> None:
    assert callable(make)
    variant: Variant = make(tutorial)
    port = free_port()
    desk.write("demo_task.py", variant.task)
    desk.write(
        "qmi.conf",
        f'{{"contexts": {{"task_demo": {{"host": "127.0.0.1", "tcp_server_port": {port}}}}},'
        f' "discovery": {{"port": {free_port()}, "broadcast_addresses": ["127.255.255.255"]}}}}',
    )
    there = desk.prompt()
    head, make_task, rest = re.split(r"task = (qmi\.make_task\(.*\))\n", variant.script)
    classes = head[: head.index("def main")].replace("#!/usr/bin/env python3", "")
    # What stands before main() is a module of its own there, since a prompt is no place for long texts.
    desk.write("classes.py", classes)
    there.type("from classes import *")
    assert re.fullmatch(CONTEXT, there.type('qmi.start("task_demo")').strip())
    there.type('nsg = qmi.make_instrument("nsg", NoisySineGenerator)')
    there.type(f"task = {make_task}")
    here = f'{head}task = qmi.get_task("task_demo.task")\n{rest}'
    where = f'"task_demo.nsg", auto_connect=True, host_port="127.0.0.1:{port}"'
    here = replaced(here, 'start_stop(qmi, "task_demo")', 'start_stop(qmi, "client")')
    here = replaced(here, 'qmi.make_instrument("nsg", NoisySineGenerator)', f"qmi.get_instrument({where})")
    desk.write("task_demo.py", here)
    run = desk.run("python3 task_demo.py")
    assert run.returncode == 0, run.stderr
    # The task prints and logs where it runs.
    alone = f"({BEGUN}{STARTED}|{STARTED}{BEGUN})"
    assert re.fullmatch(variant.printed.replace(alone, STARTED), run.stdout), run.stdout
    assert run.stderr == ""
    printed = there.type("qmi.stop()").replace(BEGUN, "")
    assert re.fullmatch(variant.logged, printed) or printed == "", printed


@pytest.mark.slow
@pytest.mark.parametrize("factor", ["0.9", "1.1"])
def test_other_factors_drive_the_amplitude_elsewhere(factor: str, tutorial: Tutorial, desk: Desk) -> None:
    variant = custom_runner(tutorial, factor)
    desk.write("demo_task.py", variant.task)
    desk.write("task_demo.py", variant.script)
    run = desk.run("python3 task_demo.py")
    assert (run.returncode, run.stdout.count("amplitude = ")) == (0, 5), run.stderr


def test_a_custom_runner_refuses_a_task_without_the_attribute(tutorial: Tutorial, desk: Desk) -> None:
    variant = custom_runner(tutorial)
    desk.write("demo_task.py", tutorial[TASK].file("demo_task.py"))
    desk.write("task_demo.py", variant.script)
    run = desk.run("python3 task_demo.py")
    assert run.returncode == 1
    assert "QMI_TaskRunException: No such attribute in task: 'amplitude_factor'" in run.stderr
