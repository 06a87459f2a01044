"""The chapter of the demonstration in which three programs share an instrument, and how other programs are run."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import qmi
from qmi.core.exceptions import QMI_ObjectLockedException, QMI_UnknownNameException
from qmi.core.rpc import rpc_method
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.tools.stage import Stage
from qmi.utils.context_managers import lock_unlock, start_stop

SAMPLES = 300
WAVEFORM = 10_000_000
"""Size of a waveform, in bytes."""
PATIENCE = 10.0
"""How long anything may take, in seconds."""


class Oscilloscope(NoisySineGenerator):
    """A simulated instrument with long records."""

    @rpc_method
    def get_waveform(self) -> bytes:
        """A damped wave: 10 MB of floating point numbers, eight bytes each."""
        points = WAVEFORM // 8
        part = array("d", (math.exp(-x / 250) * math.sin(x / 20) for x in range(1000)))
        return (part * (points // len(part) + 1))[:points].tobytes()


def three_programs(stage: Stage) -> None:
    """Three programs, one instrument, a lock, ten megabytes."""
    with tempfile.TemporaryDirectory() as directory:
        config = write_config(Path(directory))
        with program("bench", config), program("bob", config) as bob, start_stop(qmi, "alice", config):
            stage.say("One program has an oscilloscope. Alice (this one) and Bob look for it on the network:")
            stage.code('for name, address in qmi.context().discover_peer_contexts():\n    print(name, "at", address)')
            scope = _find(stage)
            _take_turns(stage, scope, bob)
            _transfer(stage, scope)


def _find(stage: Stage) -> Oscilloscope:
    for name, address in qmi.context().discover_peer_contexts():
        stage.result(f"{name} at {address}")
    return connect()


def connect() -> Oscilloscope:
    """Look for the bench on the network, connect to it, and return a proxy of its instrument."""
    for name, address in qmi.context().discover_peer_contexts():
        if name == "bench":
            scope: Oscilloscope = qmi.get_instrument("bench.scope", auto_connect=True, host_port=address)
            return scope
    raise QMI_UnknownNameException("Nobody on this computer answered by the name 'bench'")


def _take_turns(stage: Stage, scope: Oscilloscope, bob: subprocess.Popen[str]) -> None:
    stage.say("\nAlice locks it and measures. Bob is refused, and waits for his turn:")
    with lock_unlock(scope):
        _tell(bob)
        stage.refusal_text(f"Bob: {hear(bob)}")
        samples = []
        for _ in stage.each(range(SAMPLES), "Alice measures"):
            samples.append(scope.get_sample())
            time.sleep(0.002)
    stage.result(f"Bob: {hear(bob)}")
    stage.picture(samples)


def _transfer(stage: Stage, scope: Oscilloscope) -> None:
    stage.say("\nA waveform of 10 MB from one program to another:")
    stage.code("waveform = scope.get_waveform()")
    scope.get_waveform()
    begin = time.perf_counter()
    waveform = array("d", scope.get_waveform())
    took = time.perf_counter() - begin
    stage.picture(waveform[:1000].tolist())
    stage.result(f"{len(waveform)} points in {took * 1e3:.0f} ms: {WAVEFORM / took / 1e6:.0f} MB/s")


# The programs


def write_config(directory: Path) -> str:
    """Write a configuration for programs that mind nobody but each other, and return its path."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    path = directory / "qmi.conf"
    content = {
        "logging": {"console_loglevel": "CRITICAL", "logfile": None},
        # A port of its own, and no farther than this computer: the demonstration is nobody else's business.
        "discovery": {"port": port, "broadcast_addresses": ["127.255.255.255"]},
        "contexts": {"bench": {"host": "127.0.0.1", "tcp_server_port": 0}},
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


@contextmanager
def program(role: str, config: str) -> Iterator[subprocess.Popen[str]]:
    """Run another program of the demonstration for the length of a ``with`` block."""
    # In a session of its own: Ctrl-C is for the demonstration, which then ends its programs.
    with subprocess.Popen(
        [sys.executable, "-m", "qmi.tools.demo_roles", role, config],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            hear(process)
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    """Wait for a line that a program says."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{' '.join(map(str, process.args[1:]))} ended early")  # type: ignore[index]
    return line.rstrip("\n")


def say(text: str) -> None:
    """Say a line to the demonstration."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def bench(config: str) -> None:
    """Serve the instrument until the input ends."""
    with start_stop(qmi, "bench", config):
        qmi.make_instrument("scope", Oscilloscope)
        say("ready")
        sys.stdin.read()


def bob(config: str) -> None:
    """Try to use the instrument while somebody else has it locked, then wait for it."""
    with start_stop(qmi, "bob", config):
        scope = connect()
        say("ready")
        if not sys.stdin.readline():
            return
        try:
            scope.get_sample()
        except QMI_ObjectLockedException as error:
            say(f"{type(error).__name__}: {error}")
        begin = time.perf_counter()
        with lock_unlock(scope, timeout=PATIENCE):
            text = f"locked after {time.perf_counter() - begin:.2f} s, and got {scope.get_sample():.1f}"
        say(text)
        sys.stdin.read()
