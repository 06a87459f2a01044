"""Which client serves a site better: ``python -m benchmarks.site_clients``, where nats-py is installed.

Compares the client of :mod:`qmi.site.client`, on trio, with nats-py in a thread that runs asyncio. Each publishes from
a thread beside its loop, as objects do: in a burst, and at an even pace. One subscriber of its own kind tells how late
the paced signals are; a second one is frozen. The processor time is that of the publishing process, of all its threads.
"Kept" means that the server's acknowledgements are waited for: nats-py asks for one for each message.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from qmi.names import HostPort
from qmi.runtime.wakeup import Loop
from qmi.site.client import ClientOptions, Server, SiteClient
from qmi.site.wire import Message
from tests.support.nats_server import NatsServer

BURST = 10_000
PACED = 1_000
PERIOD = 0.002
SUBJECT = "qmi.bench.signal.lab.psu.sig"
PAYLOAD = bytes(52)

Publish = Callable[[bytes], object]


def stamped() -> bytes:
    return b"%.7f" % time.time() + PAYLOAD


Client = Iterator[tuple[Publish, Callable[[], None]]]
OnMessage = Callable[[bytes], object]


@contextmanager
def thin(
    port: int, kept: bool, on_message: Callable[[bytes], object] | None = None
) -> Iterator[tuple[Publish, Callable[[], None]]]:
    ready: queue.Queue[tuple[SiteClient, trio.CancelScope, trio.lowlevel.TrioToken]] = queue.Queue()

    async def main() -> None:
        options = ClientOptions([Server(HostPort("127.0.0.1", port))], "bench", f"_INBOX.{os.getpid()}", 64 << 20)
        client = SiteClient(options, Loop())
        if on_message is not None:
            client.subscribe(SUBJECT, lambda message: on_message(message.payload))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            await client.up.wait()
            ready.put((client, nursery.cancel_scope, trio.lowlevel.current_trio_token()))

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    client, scope, token = ready.get()

    def drain() -> None:
        trio.from_thread.run(client.drain, 20.0, trio_token=token)

    yield lambda payload: client.publish(SUBJECT.encode(), payload, kept=kept), drain
    token.run_sync_soon(scope.cancel)
    thread.join()


@contextmanager
def threaded(port: int, kept: bool, on_message: OnMessage | None = None) -> Client:  # noqa: C901
    nats: Any = importlib.import_module("nats")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    connection = wait(nats.connect(f"nats://127.0.0.1:{port}"))
    stream = connection.jetstream(publish_async_max_pending=2 * BURST)
    if on_message is not None:

        async def called(message: Any) -> None:
            on_message(message.data)

        wait(connection.subscribe(SUBJECT, cb=called))
        wait(connection.flush())
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    awake = False
    mutex = threading.Lock()

    async def write() -> None:
        nonlocal awake
        while True:
            with mutex:
                if waiting.empty():
                    awake = False
                    return
            payload = waiting.get_nowait()
            if kept:
                await stream.publish_async(SUBJECT, payload)
            else:
                await connection.publish(SUBJECT, payload)

    def publish(payload: bytes) -> None:
        nonlocal awake
        with mutex:
            waiting.put(payload)
            if awake:
                return
            awake = True
        asyncio.run_coroutine_threadsafe(write(), loop)

    def drain() -> None:
        while not waiting.empty():
            time.sleep(0.001)
        if kept:
            wait(stream.publish_async_completed())
        wait(connection.flush())

    yield publish, drain
    wait(connection.close())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


KINDS = {"thin": thin, "nats-py": threaded}


def publisher(kind: str, port: int, kept: bool) -> None:
    with KINDS[kind](port, kept) as (publish, drain):
        for _ in range(200):
            publish(bytes(70))
        drain()
        begin, wall = time.process_time(), time.perf_counter()
        for _ in range(BURST):
            publish(bytes(70))
        blocked = time.perf_counter() - wall
        drain()
        burst = time.process_time() - begin
        wall = time.perf_counter() - wall
        time.sleep(0.3)
        begin = time.process_time()
        due = time.perf_counter()
        for _ in range(PACED):
            due += PERIOD
            time.sleep(max(0.0, due - time.perf_counter()))
            publish(stamped())
        drain()
        paced = time.process_time() - begin
        begin = time.process_time()
        for _ in range(PACED):
            due += PERIOD
            time.sleep(max(0.0, due - time.perf_counter()))
            stamped()
        paced -= time.process_time() - begin
    print(
        f"burst {burst / BURST * 1e6:6.1f} us of processor time a signal, {BURST / wall:8.0f} signals/s, "
        f"publish() {blocked / BURST * 1e6:5.1f} us; paced {paced / PACED * 1e6:6.1f} us of processor time",
        end="; ",
    )


def subscriber(kind: str, port: int) -> None:
    late: list[float] = []
    done = threading.Event()

    def came(payload: bytes) -> None:
        if payload[0]:
            late.append(time.time() - float(payload[: -len(PAYLOAD)]))
            if len(late) == PACED:
                done.set()

    with KINDS[kind](port, False, came):
        print("ready", flush=True)
        done.wait(30)
    late.sort()
    print(
        f"latency p50 {statistics.median(late) * 1e6:5.0f} us, p99 {late[int(len(late) * 0.99)] * 1e6:6.0f} us, "
        f"most {late[-1] * 1e3:5.1f} ms ({len(late)} signals)"
    )


def run(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "benchmarks.site_clients", *map(str, arguments)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder)) as server:
        for kind, kept in (("thin", 1), ("thin", 0), ("nats-py", 1), ("nats-py", 0)):
            trio.run(keep, server.port)
            print(f"{kind:8} {'kept' if kept else 'not kept':8} ", end="", flush=True)
            others = [
                subprocess.Popen(run("subscriber", kind, server.port), stdout=subprocess.PIPE, text=True)
                for _ in range(2)
            ]
            for other in others:
                assert other.stdout is not None
                other.stdout.readline()
            others[1].send_signal(signal.SIGSTOP)
            subprocess.run(run("publisher", kind, server.port, kept), check=True)
            assert others[0].stdout is not None
            print(others[0].stdout.read().strip(), flush=True)
            others[1].kill()
            for other in others:
                other.wait()


async def keep(port: int) -> None:
    """Have the server keep what is published."""
    client = SiteClient(ClientOptions([Server(HostPort("127.0.0.1", port))], "bench", "_INBOX.keep"), Loop())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await client.up.wait()
        await client.request("$JS.API.STREAM.DELETE.bench")
        answer: Message = await client.request(
            "$JS.API.STREAM.CREATE.bench", b'{"name":"bench","subjects":["qmi.bench.>"],"max_msgs_per_subject":1000}'
        )
        assert b"error" not in answer.payload, answer
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "publisher":
        publisher(sys.argv[2], int(sys.argv[3]), sys.argv[4] == "1")
    else:
        subscriber(sys.argv[2], int(sys.argv[3]))
