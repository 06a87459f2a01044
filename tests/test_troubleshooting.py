"""The library says what the page about troubleshooting quotes, and each situation here is on the page."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

import qmi
from qmi._distributions import explain
from qmi.config.schema import CfgSecurity
from qmi.core.context import QMI_Context
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_LoopTask, QMI_LoopTaskMissedLoopPolicy, QMI_Task
from qmi.core.transport import create_transport
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.instruments.scpi import Scpi_PowerSupply
from qmi.tools.certs import make_ca, make_certificate
from tests.support.lab import SERVER, address, config, make_context
from tests.support.tasks import runner_of
from tests.support.waiting import changed, wait_until

PAGE = (Path(__file__).parents[1] / "docs" / "do" / "troubleshooting.md").read_text("utf-8")
QUOTED = re.findall(r"^### `(.*)`$", PAGE, re.MULTILINE)
PATTERNS = {quoted: re.compile(r".*?".join(map(re.escape, quoted.split("…"))), re.DOTALL) for quoted in QUOTED}


class Lab(NamedTuple):
    """What a situation starts with: this program's context, one that it is connected to, an object, and a directory."""

    context: QMI_Context
    bench: QMI_Context
    nsg: Any
    directory: Path


class Slow(QMI_Instrument):
    @rpc_method
    def wait(self) -> None:
        time.sleep(0.1)

    @rpc_method
    def call(self, other: str) -> None:
        qmi.get_instrument(other).call(self.get_name())


class Failing(QMI_Task[Any, Any]):
    def run(self) -> None:
        raise ValueError("no light")


class Late(QMI_LoopTask[Any, Any]):
    def loop_iteration(self) -> None:
        self.sleep(0.002)
        changed()


@pytest.fixture
def lab(home: Path) -> Iterator[Lab]:
    with make_context("bench") as bench, qmi.start("lab", None) as context:
        bench.make_instrument("nsg", NoisySineGenerator)
        context.connect_to_peer("bench", address(bench))
        nsg = context.make_instrument("nsg", NoisySineGenerator)
        yield Lab(context, bench, nsg, home)


def started(name: str, file: str, text: str) -> Callable[[Lab], object]:
    def start(lab: Lab) -> object:
        qmi.stop()
        (lab.directory / file).write_text(text)
        return qmi.start(name, lab.directory / file)

    return start


def start_on_a_port_in_use(lab: Lab) -> object:
    qmi.stop()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        own = {"lab": {"host": "127.0.0.1", "tcp_server_port": sock.getsockname()[1]}}
        return qmi.start("lab", None, context_cfg=own)


def no_context(lab: Lab) -> object:
    qmi.stop()
    return qmi.context()


def missing_configuration(lab: Lab) -> object:
    qmi.stop()
    return qmi.start("lab", lab.directory / "nowhere.conf")


def listen_for_everybody(lab: Lab) -> None:
    with QMI_Context("open", config("open", host="0.0.0.0")):
        pass


def leave_open(lab: Lab) -> None:
    lab.nsg.open()
    qmi.stop()


def forget_to_stop(lab: Lab) -> None:
    program = "import qmi; qmi.start('forgotten', None)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    logging.getLogger("qmi").warning(done.stderr.rstrip().rpartition(" | ")[2])


def open_twice(lab: Lab) -> None:
    with lab.nsg:
        lab.nsg.open()


def time_out(lab: Lab) -> object:
    return lab.context.make_instrument("slow", Slow).rpc_nonblocking.wait().wait(timeout=0.01)


def call_in_a_circle(lab: Lab) -> object:
    first = lab.context.make_instrument("first", Slow)
    lab.context.make_instrument("second", Slow)
    return first.call("second")


def use_a_removed_object(lab: Lab) -> object:
    lab.context.remove_rpc_object(lab.nsg)
    return lab.nsg.get_sample()


def use_a_stopped_context(lab: Lab) -> object:
    qmi.stop()
    return lab.nsg.get_sample()


def use_a_device(*, listens: bool = True, answers: bool = False) -> None:
    """Ask a device that is off, or silent, or that ends the connection."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        if listens:
            sock.listen()
        with create_transport(f"tcp:127.0.0.1:{sock.getsockname()[1]}") as transport:
            if answers:
                sock.accept()[0].close()
            transport.read_until(b"\n", 30.0 if answers else 0.0)


def ask_a_simulated_device(lab: Lab) -> None:
    with lab.context.make_instrument("new", Scpi_PowerSupply, simulate=True, timeout=0.01) as supply:
        supply.ask("BEEP?")


def use_a_closed_transport(_: Lab) -> None:
    create_transport("tcp:127.0.0.1:5025").write(b"*IDN?\n")


def open_a_missing_port(lab: Lab) -> None:
    create_transport(f"serial:{lab.directory / 'ttyUSB9'}:baudrate=9600").open()


def locked(lab: Lab) -> Any:
    lab.nsg.lock()
    return lab.context.get_instrument("nsg")


def lock_a_locked_object(lab: Lab) -> None:
    with locked(lab).locked(timeout=0.01):
        pass


def lose_a_lock(lab: Lab) -> object:
    locked(lab).force_unlock()
    return lab.nsg.get_sample()


def connect_to_the_wrong_port(lab: Lab) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # nobody listens there
        lab.context.connect_to_peer("other", f"127.0.0.1:{sock.getsockname()[1]}")


def look_for_nobody(lab: Lab) -> None:
    with make_context("seeking") as seeking:
        seeking.connect_to_peer("nobody")


def use_without_a_connection(lab: Lab) -> object:
    return lab.context.get_instrument("elsewhere.nsg")


def connect_to_another_workgroup(lab: Lab) -> None:
    with make_context("other", workgroup="lab2") as other:
        lab.context.connect_to_peer("other", address(other))


def security(directory: Path, context: str) -> CfgSecurity:
    directory.mkdir(exist_ok=True)
    if not (directory / "ca.pem").exists():
        make_ca(directory)
    make_certificate(directory, context, workgroup="default", hosts=[])
    names = (directory / name for name in ("ca.pem", f"{context}.pem", f"{context}.key"))
    return CfgSecurity(**dict(zip(("ca", "certificate", "key"), map(str, names), strict=True)))


def connect_without_a_certificate(lab: Lab) -> None:
    with make_context("secure", security=security(lab.directory / "certs", "secure")) as secure:
        lab.context.connect_to_peer("secure", address(secure))


def connect_with_a_certificate_to_one_without(lab: Lab) -> None:
    with make_context("secure", security=security(lab.directory / "certs", "secure")) as secure:
        secure.connect_to_peer("bench", address(lab.bench))


def connect_with_another_ca(lab: Lab) -> None:
    one, other = (security(lab.directory / name, name) for name in ("one", "other"))
    with make_context("one", security=one) as server, make_context("other", security=other) as client:
        client.connect_to_peer("one", address(server))


def lose_a_peer(lab: Lab, *, before: bool) -> object:
    program = f"""{SERVER}
import os
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
class Dying(QMI_Instrument):
    @rpc_method
    def die(self): os._exit(1)
context = make_context("dying")
context.start()
context.make_instrument("one", Dying)
print(address(context), flush=True)
time.sleep(30)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lab.context.connect_to_peer("dying", process.stdout.readline().strip())
        one = lab.context.get_instrument("dying.one")
        if before:
            with pytest.raises(qmi.core.exceptions.QMI_OutcomeUnknownException):
                one.die()
        return one.die()


def run_a_failing_task(lab: Lab) -> object:
    task = lab.context.make_task("failing", Failing)
    task.start()
    return task.join()


def run_a_late_loop(lab: Lab) -> None:
    policy = QMI_LoopTaskMissedLoopPolicy.SKIP
    task = lab.context.make_task("late", Late, loop_period=0.001, policy=policy)
    task.start()
    wait_until(lambda: runner_of(lab.context, "late").get_statistics().missed)
    task.stop()
    task.join()


def await_in_asyncio(lab: Lab) -> None:
    async def main() -> None:
        await lab.nsg.rpc_async.get_sample()

    asyncio.run(main())


def block_in_trio(lab: Lab) -> None:
    async def main() -> None:
        lab.nsg.get_sample()

    trio.run(main)


def share_an_environment(lab: Lab) -> None:
    raise ImportError(explain("/home/me/.venv/lib/python3.11/site-packages", ["qmi 0.54.2"]))


SITUATIONS: list[Callable[[Lab], object]] = [
    no_context,
    lambda _: qmi.start("lab", None),
    missing_configuration,
    started("lab", "qmi.conf", '{"logging": {"console_loglevel": "LOUD"}}'),
    start_on_a_port_in_use,
    listen_for_everybody,
    lambda lab: lab.context.make_instrument("nsg", NoisySineGenerator),
    lambda lab: lab.context.make_instrument("new", "NoisySineGenerator"),  # type: ignore[call-overload]
    lambda lab: lab.context.get_instrument("ngs"),
    lambda lab: lab.nsg.get_sampel(),
    lambda lab: lab.nsg.close(),
    open_twice,
    leave_open,
    forget_to_stop,
    lambda lab: lab.context.get_instrument("bench.nsg").set_amplitude(threading.Lock()),
    time_out,
    call_in_a_circle,
    use_a_removed_object,
    use_a_stopped_context,
    lambda _: create_transport("fax:192.168.1.20"),
    lambda _: create_transport("tcp:"),
    lambda _: create_transport("tcp:192.168.1.20"),
    lambda _: use_a_device(listens=False),
    open_a_missing_port,
    lambda _: use_a_device(),
    lambda _: use_a_device(answers=True),
    lambda lab: lab.context.make_instrument("new", Slow, simulate=True),
    ask_a_simulated_device,
    use_a_closed_transport,
    lambda lab: locked(lab).get_sample(),
    lock_a_locked_object,
    lose_a_lock,
    connect_to_the_wrong_port,
    look_for_nobody,
    use_without_a_connection,
    lambda lab: lab.context.connect_to_peer("other", address(lab.bench)),
    connect_to_another_workgroup,
    connect_without_a_certificate,
    connect_with_a_certificate_to_one_without,
    connect_with_another_ca,
    lambda lab: lab.context.connect_to_peer("bench", address(lab.bench)),
    lambda lab: lose_a_peer(lab, before=False),
    lambda lab: lose_a_peer(lab, before=True),
    lambda lab: lab.context.make_task("new", Failing).join(),
    run_a_failing_task,
    run_a_late_loop,
    lambda _: QMI_SignalReceiver().get_next_signal(timeout=0.001),
    lambda lab: lab.context.subscribe_signal("lab", "nsg", "sig_x", QMI_SignalReceiver()),
    await_in_asyncio,
    block_in_trio,
    share_an_environment,
]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(QUOTED)), ids=QUOTED)
def test_message_on_the_page_is_what_the_library_says(number: int, lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    said: list[str] = []
    try:
        SITUATIONS[number](lab)
    except Exception as error:
        said += [str(error), *getattr(error, "__notes__", [])]
    said += [record.getMessage() for record in caplog.records]
    assert any(PATTERNS[QUOTED[number]].fullmatch(text) for text in said), said


def test_each_situation_has_its_message_on_the_page() -> None:
    assert len(QUOTED) == len(set(QUOTED)) == len(SITUATIONS)
