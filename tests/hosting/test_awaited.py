"""Drivers whose methods are awaited, for asyncio and for trio, against a server that they reach over TCP."""

from __future__ import annotations

import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import qmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_InstrumentException,
    QMI_InvalidOperationException,
    QMI_MissingLibraryException,
    QMI_UsageException,
)
from qmi.hosting import AsyncioAdapter, PlainAdapter, TrioAdapter, registry
from tests.support import hosted_awaited, hosted_trio
from tests.support.lab import two_contexts
from tests.support.proc import ROOT

METERS = [hosted_awaited.Meter, hosted_trio.Meter]


class _Device(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        for line in self.rfile:
            text = line.decode().strip()
            if text == "HANG":
                self.server.hanging.set()
                continue
            if text.startswith("RANG "):
                self.server.range = text[5:]
            self.wfile.write(f"{self.server.range}\n".encode() if text.startswith("RANG") else b"ACME\n")
        self.server.left.set()


class Server(socketserver.ThreadingTCPServer):
    """A device with a range."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Device)
        self.range = "1.0"
        self.hanging = threading.Event()
        self.left = threading.Event()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def context() -> Iterator[QMI_Context]:
    with QMI_Context("lab") as context:
        yield context


@pytest.mark.parametrize("driver", METERS, ids=["asyncio", "trio"])
def test_awaited_driver_is_an_instrument_as_any_other(server: Server, driver: Any) -> None:
    with two_contexts() as (owner, client):
        meter = owner.make_instrument("meter", qmi.hosted(driver), server.server_address[1])
        far = client.get_instrument("server.meter")
        with meter:
            assert meter.ask("*IDN?") == "ACME"
            far.range = 2.5
            assert (far.range, meter.get_range(), server.range) == (2.5, 2.5, "2.5")
            assert meter.parameters()["range"].type == "float"
            assert meter.snapshot(update=True)["range"].value == 2.5
            with pytest.raises(QMI_UsageException, match="range of meter must be a number, got 'much'"):
                meter.range = "much"
            assert list(far.samples(3)) == [0, 1, 2]
            with pytest.raises(OSError, match="the cable is out"):
                far.fail()
            with far.locked():
                assert meter.is_locked()
            assert meter.seen() == ["samples"]
        assert server.left.wait(10)
        server.left.clear()
        meter.open()  # again
        assert meter.ask("*IDN?") == "ACME"
        meter.close()


@pytest.mark.parametrize("driver", METERS, ids=["asyncio", "trio"])
async def test_awaited_driver_whose_caller_is_cancelled_is_cancelled(server: Server, driver: Any) -> None:
    async with qmi.open_context("lab", None) as context:
        meter: Any = await context.make_instrument("meter", qmi.hosted(driver), server.server_address[1])
        async with meter:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(meter.hang)
                await trio.to_thread.run_sync(server.hanging.wait, 10)
                nursery.cancel_scope.cancel()
            assert await meter.seen() == ["hang"]
            async for number in await meter.samples(100):
                if number == 2:
                    break
            assert await meter.ask("*IDN?") == "ACME"


@pytest.mark.parametrize("driver", METERS, ids=["asyncio", "trio"])
def test_awaited_driver_is_closed_with_its_instrument(
    server: Server, context: QMI_Context, caplog: pytest.LogCaptureFixture, driver: Any
) -> None:
    meter = context.make_instrument("meter", qmi.hosted(driver), server.server_address[1])
    meter.open()
    context.remove_rpc_object(meter)
    assert server.left.wait(10)
    assert "meter is still open and is closed now" in caplog.text
    caplog.clear()
    context.remove_rpc_object(context.make_instrument("meter", qmi.hosted(driver), server.server_address[1]))
    given = driver(server.server_address[1])
    meter = context.make_instrument("meter", qmi.hosted(given))
    with pytest.raises(QMI_UsageException, match="is instrument 'meter' already"):
        context.make_instrument("two", qmi.hosted(given))
    context.remove_rpc_object(meter)
    with context.make_instrument("two", qmi.hosted(given)) as two:
        assert two.ask("*IDN?") == "ACME"
    assert caplog.text == ""


def test_asyncio_driver_runs_where_asyncio_does(
    server: Server, context: QMI_Context, caplog: pytest.LogCaptureFixture
) -> None:
    meter = context.make_instrument("meter", qmi.hosted(hosted_awaited.Meter), server.server_address[1])
    with meter:
        assert meter.loop_is_running
        assert list(meter.count(3)) == [0, 1, 2]
        with pytest.raises(QMI_InstrumentException, match="The driver of 'meter' has cancelled its own call"):
            meter.cancel_itself()
        meter.fail_later()
        assert meter.ask("*IDN?") == "ACME"  # nothing has ended for it
        assert "nobody calls it" in caplog.text
    assert meter.seen() == ["watch"]


def test_asyncio_driver_that_cannot_connect_says_why(server: Server, context: QMI_Context) -> None:
    port = server.server_address[1]
    meter = context.make_instrument("meter", qmi.hosted(hosted_awaited.Meter), 1)
    with pytest.raises(OSError, match="Connect call failed"):
        meter.open()
    assert not meter.is_open()
    context.make_instrument("meter", qmi.hosted(hosted_awaited.Meter), port, replace=True).ask  # noqa: B018


@pytest.mark.parametrize("driver", [hosted_awaited.Session, hosted_awaited.Ready], ids=["async with", "connected"])
def test_asyncio_driver_without_open(context: QMI_Context, driver: Any) -> None:
    driver.log.clear()
    device = context.make_instrument("device", qmi.hosted(driver))
    for _ in range(2):
        with device:
            assert device.idn() == "ACME"
    assert driver.log == (["in", "out"] * 2 if driver is hosted_awaited.Session else ["closed"] * 2)
    context.remove_rpc_object(device)
    assert len(driver.log) == (4 if driver is hosted_awaited.Session else 2)
    device = context.make_instrument("device", qmi.hosted(driver))
    if driver is hosted_awaited.Ready:
        context.remove_rpc_object(device)  # never opened
        assert driver.log == ["closed"] * 3


def test_awaited_driver_has_the_adapter_of_its_library(context: QMI_Context) -> None:
    assert type(registry.adapter_for(hosted_awaited.Meter)) is AsyncioAdapter
    assert type(registry.adapter_for(hosted_trio.Meter)) is TrioAdapter
    with pytest.raises(
        QMI_UsageException, match=r"Session.idn\(\) is async, and PlainAdapter is for drivers with plain"
    ):
        context.make_instrument("device", qmi.hosted(hosted_awaited.Session, adapter=PlainAdapter()))
    with pytest.raises(QMI_InvalidOperationException, match="not open"):
        context.make_instrument("device", qmi.hosted(hosted_awaited.Session, adapter=TrioAdapter())).close()


def test_asyncio_of_other_threads_is_as_before_a_driver_for_asyncio_is_hosted(home: Path) -> None:
    program = """
import asyncio, threading, qmi
from tests.support import hosted_awaited
with qmi.start("lab", None) as context:
    device = qmi.make_instrument("device", qmi.hosted(hosted_awaited.Quiet))
    assert device.answer() == 42
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    print(asyncio.run_coroutine_threadsafe(asyncio.sleep(0, "ended"), loop).result(20.0))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    print(asyncio.run(asyncio.sleep(0, "and run")))
    assert device.answer() == 42
"""
    (home / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", "program.py"],
        cwd=home,
        env={"PYTHONPATH": str(ROOT), "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout) == (0, "ended\nand run\n"), done.stderr


def test_asyncio_driver_needs_trio_asyncio(context: QMI_Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trio_asyncio", None)
    with pytest.raises(QMI_MissingLibraryException, match=r"pip install 'qmi-trio\[hosting\]'"):
        context.make_instrument("device", qmi.hosted(hosted_awaited.Session))
