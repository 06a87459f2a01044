"""What ``import qmi`` costs: what a program may never need is imported when it is."""

from __future__ import annotations

import subprocess
import sys

import pytest

NOT_BY_IMPORT = ["qmi.actors", "qmi.contexts.default", "qmi._api", "socket", "ssl", "trio"]
NOT_BY_VERBS = [
    *("asyncssh", "cbor2", "cryptography", "json5", "numpy", "psutil", "rich", "tricycle", "trio.testing"),
    *(
        "qmi.config.loader",
        "qmi.config.schema",
        "qmi.peers.connections",
        "qmi.runtime.logs",
        "qmi.net",
        "qmi.proc",
        "qmi.testing",
    ),
    *("qmi.tools", "qmi.utils", "qmi.config", "qmi.actors.proxy", "qmi.actors.actor", "json", "sysconfig"),
]
NOT_BY_START = [
    *("asyncssh", "concurrent.futures", "cryptography", "difflib", "encodings.idna", "getpass", "html", "json5"),
    *("json", "logging.handlers", "numpy", "pickle", "psutil", "rich", "secrets"),
    *("qmi.actors.tasks.loop_task", "qmi.actors.tasks.thread_executor"),
    *("qmi.actors.context_status", "qmi.actors.log_records", "qmi.actors.tasks.settings_fields", "qmi.config.parser"),
    *("cbor2", "qmi.net.codec", "qmi.net.io.link", "qmi.net.io.tls", "qmi.net.protocol.connection"),
    *("qmi.net.protocol.handshake", "qmi.net.protocol.packets", "qmi.peers.link_making", "qmi.peers.link_status"),
    *("qmi.peers.references", "qmi.peers.rpc_server"),
    *("qmi.contexts.asked_status", "qmi.contexts.log_reader", "qmi.contexts.status"),
    *("qmi.actors.parameter_values", "qmi.parameters.access", "qmi.parameters.snapshot"),
    *("qmi.proc", "qmi.testing", "qmi.tools"),
]


def imported(program: str) -> set[str]:
    program += "\nimport sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    ("program", "unwanted"),
    [
        ("import qmi", [*NOT_BY_IMPORT, *NOT_BY_VERBS]),
        ("import qmi; qmi.start", NOT_BY_VERBS),
        ("import qmi; qmi.start('imports', None); qmi.stop()", NOT_BY_START),
    ],
    ids=["import", "verbs", "start"],
)
def test_import_of_the_package_loads_only_what_is_needed(program: str, unwanted: list[str]) -> None:
    found = imported(program)
    assert ("qmi.contexts.default" in found) is ("start" in program)
    assert found & set(unwanted) == set()


def test_classes_that_a_start_needs_are_no_dataclasses_but_for_those_that_users_send() -> None:
    program = (
        "import sys, qmi; qmi.start('imports', None); qmi.stop()\n"
        "found = [c for n, m in sys.modules.items() if n.startswith('qmi') for c in vars(m).values()]\n"
        "made = {c.__qualname__ for c in found if isinstance(c, type) and '__dataclass_fields__' in vars(c)}\n"
        "print(*sorted(made), sep=',')"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout.split() == ["RestartRule,SafeWhen"]


def test_annotations_of_named_tuples_that_a_start_needs_are_not_compiled() -> None:
    program = (
        "import sys, qmi; qmi.start('imports', None); qmi.stop()\n"
        "found = [c for n, m in sys.modules.items() if n.startswith('qmi') for c in vars(m).values()]\n"
        "made = [c for c in found if isinstance(c, type) and issubclass(c, tuple) and '_fields' in vars(c)]\n"
        "assert len(made) > 20\n"
        "print(*sorted({c.__name__ for c in made if any(type(a) is not str for a in c.__annotations__.values())}))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout.split() == ["PeerSubscriber"]  # which is generic


def test_links_are_imported_by_a_thread_when_the_first_one_is_made() -> None:
    # In the thread of the loop, that would stop all loops of the program for as long.
    program = """
import sys, threading
import qmi

by = {}
first = qmi.start("first", None)
second = qmi.core.context.QMI_Context("second")
second.start()

def note(event, args):
    if event == "import" and args[0].startswith("qmi.net."):
        by[args[0]] = threading.current_thread().name

sys.addaudithook(note)
loops = [thread.name for thread in threading.enumerate()]
second.connect_to_peer("first", f"127.0.0.1:{first.get_tcp_server_port()}")
assert "qmi.net.io.link" in by and "qmi.net.protocol.connection" in by, by
assert not set(by.values()) & set(loops), (by, loops)
second.stop()
qmi.stop()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("from qmi import *; print(start.__name__, make_task.__module__)", "start qmi"),
        ("from qmi import context; print(callable(context))", "True"),
        ("import qmi; print({'start', 'info', 'core', '__name__'} < set(dir(qmi)))", "True"),
        ("import qmi; print(hasattr(qmi, 'strat'), 'qmi._api' in __import__('sys').modules)", "False False"),
        ("import qmi; help(qmi)", "task_runner: 'type[TR]' = <class 'qmi.core.task.QMI_TaskRunner'>"),
    ],
    ids=["star", "from", "dir", "misspelt", "help"],
)
def test_package_lists_its_verbs(program: str, output: str) -> None:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert output in run.stdout


@pytest.mark.parametrize("first", ["qmi.start('imports', None)", "import qmi.core.context"])
def test_the_module_context_does_not_hide_the_function(first: str) -> None:
    imported(f"import qmi\n{first}\nassert callable(qmi.context), qmi.context\nif 'start' in {first!r}: qmi.stop()")
