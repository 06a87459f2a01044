"""What breaks what: the same small experiments for any library that has QMI's public names.

Runs in a network namespace of its own, by the Python that has the library: ``python experiments.py`` prints one line
of JSON for each experiment.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from devices import Trap  # type: ignore[import-not-found,unused-ignore]
from stage import Program, attempt, client, served  # type: ignore[import-not-found,unused-ignore]


def server_killed_during_a_call() -> str:
    with served() as (server, port), client("cli", port) as device:
        future = device.rpc_nonblocking.block(60.0)
        time.sleep(0.3)
        server.process.kill()
        return f"the call ends with {attempt(lambda: future.wait(timeout=20.0)).text}"


def client_killed_while_it_holds_a_lock() -> str:
    with served() as (_, port), client("cli", port) as device:
        holder = Program("lock", str(port))
        assert holder.said == "True"
        holder.kill()
        return f"the next lock(timeout=20) gives {attempt(lambda: device.lock(timeout=20.0)).text}"


def driver_raises_system_exit() -> str:
    with served() as (server, port), client("cli", port) as device:
        first = attempt(lambda: device.leave(rpc_timeout=5.0))
        then = attempt(lambda: device.echo(1, rpc_timeout=5.0))
        return f"the call ends with {first.text}; the next call with {then.text}; {_alive(server)}"


def driver_raises_a_local_exception() -> str:
    with served() as (server, port), client("cli", port) as device:
        first = attempt(lambda: device.fail_locally(rpc_timeout=5.0))
        then = attempt(lambda: device.echo(1, rpc_timeout=5.0))
        return f"the call ends with {first.text}; the next call with {then.text}; {_alive(server)}"


def result_that_cannot_be_sent() -> str:
    with served() as (server, port), client("cli", port) as device:
        first = attempt(lambda: device.give_mutex(rpc_timeout=5.0))
        then = attempt(lambda: device.echo(1, rpc_timeout=5.0))
        return f"the call ends with {first.text}; the next call with {then.text}; {_alive(server)}"


def malformed_bytes_on_the_port() -> str:
    return _bad_client(os.urandom(1024))


def sixty_four_mebibytes_of_ones_on_the_port() -> str:
    return _bad_client(b"\xff" * (64 << 20))


def _bad_client(data: bytes) -> str:
    with served() as (server, port), client("cli", port) as device:
        device.echo(1)
        before = server.size
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(3.0)
            try:
                sock.sendall(data)
                while sock.recv(65536):
                    pass
                end = "closed"
            except TimeoutError:
                end = "still open after 3 s"
            except OSError:
                end = "closed"
            bystander = attempt(lambda: device.echo(1, rpc_timeout=5.0))
        grown = max(0, server.size - before) / (1 << 20)
        return f"that connection: {end}; a bystander's call gives {bystander.text}; memory grew by {grown:.0f} MiB"


def two_hundred_silent_connections() -> str:
    with served() as (server, port):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        with client("cli", port) as device:
            good = attempt(lambda: device.echo(1, rpc_timeout=5.0))
        time.sleep(7.0)
        left = sum(
            1 for link in psutil.Process(server.process.pid).net_connections("tcp") if link.status == "ESTABLISHED"
        )
        for sock in silent:
            sock.close()
        return f"a good client's call gives {good.text}; {left} of 200 are still held after 7 s"


def stop_while_a_driver_is_stuck() -> str:
    program = Program("stop_while_stuck")
    try:
        out = program.process.communicate(timeout=20)[0].strip()
        return f"stop() returns after {out!s} s, the program ends with status {program.process.returncode}"
    except subprocess.TimeoutExpired:
        program.kill()
        return "stop() has not returned after 20 s"


def two_objects_that_call_each_other() -> str:
    with served() as (_, port), client("cli", port) as device:
        device.meet("srv.dev2")
        device.call_other("meet", "srv.dev")
        ended = attempt(lambda: device.call_other("call_other", "echo", 1, rpc_timeout=5.0))
        then = attempt(lambda: device.echo(1, rpc_timeout=3.0))
        return f"the call ends with {ended.text}; then another one gives {then.text}"


def lock_opened_with_the_token_of_another_context() -> str:
    with served() as (_, port), client("owner", port) as mine, client("thief", port) as theirs:
        assert mine.lock(lock_token="t")
        return f"unlock() of the other one gives {theirs.unlock(lock_token='t')}; locked then: {mine.is_locked()}"


def second_client_of_the_same_name() -> str:
    with served() as (_, port):
        first, second = Program("lock", str(port)), Program("lock", str(port))
        end = f"the first locks: {first.said}; the second is {'connected' if second.said else 'refused'}"
        for program in (first, second):
            program.kill()
        return end


def argument_that_runs_code_where_it_arrives() -> str:
    with tempfile.TemporaryDirectory() as directory, served() as (server, port), client("cli", port) as device:
        path = os.path.join(directory, "pids")
        ended = attempt(lambda: device.echo(Trap(path), rpc_timeout=5.0))
        ran = os.path.exists(path) and str(server.process.pid) in Path(path).read_text().split()
        end = "a value" if ended.what.startswith("'") else ended.what
        return f"the call ends with {end}; code ran in the server: {'yes' if ran else 'no'}"


def junk_over_udp() -> str:
    with served() as (server, port), client("cli", port) as device:
        process = psutil.Process(server.process.pid)
        ports = [sock.laddr.port for sock in process.net_connections("udp")]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(1000):
                for udp in ports:
                    sock.sendto(os.urandom(number % 200), ("127.0.0.1", udp))
        time.sleep(0.5)
        ended = attempt(lambda: device.echo(1, rpc_timeout=5.0))
        lines = server.kill().count("\n")
        return f"UDP ports: {len(ports)}; a call gives {ended.text}; lines on stderr: {lines}"


def broadcast_of_the_tool_that_kills() -> str:
    """Upstream documents a command that ends contexts that it finds; who may use it?"""
    tool = os.path.join(os.path.dirname(sys.executable), "qmi_tool")
    if not os.path.exists(tool):
        return "there is no such command"
    with served() as (server, _):
        run = subprocess.run([tool, "hard-kill-yes-really-i-am-sure"], capture_output=True, text=True, timeout=20)
        time.sleep(1.0)
        words = (run.stdout + run.stderr).strip().splitlines()
        return f"status {run.returncode} ({words[-1][:80] if words else ''}); {_alive(server)}"


def _alive(server: Program) -> str:
    return f"the server {'lives' if server.is_alive() else 'is dead'}"


EXPERIMENTS: tuple[Callable[[], str], ...] = (
    server_killed_during_a_call, client_killed_while_it_holds_a_lock, driver_raises_system_exit,
    driver_raises_a_local_exception, result_that_cannot_be_sent, malformed_bytes_on_the_port,
    sixty_four_mebibytes_of_ones_on_the_port, two_hundred_silent_connections, stop_while_a_driver_is_stuck,
    two_objects_that_call_each_other, lock_opened_with_the_token_of_another_context, second_client_of_the_same_name,
    argument_that_runs_code_where_it_arrives, junk_over_udp, broadcast_of_the_tool_that_kills,
)  # fmt: skip


def main() -> None:
    """Run one experiment, by its name."""
    experiment = next(one for one in EXPERIMENTS if one.__name__ == sys.argv[1])
    fact = experiment()
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a library may wait for threads that never end


if __name__ == "__main__":
    main()
