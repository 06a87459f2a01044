"""Signals at a site as ``qmi site start`` makes it: with certificates, and with what those permit."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.config.loader import load_config
from qmi.contexts.async_context import Context
from qmi.site.server_config import SERVER_NAME
from tests.support.site_lab import files_of, make_certificates, site, write_site
from tests.support.site_signals import Horn, cut_off, engine_of, next_value

pytestmark = pytest.mark.slow

PUBLISHER = """
import sys, qmi
from tests.support.site_signals import Horn
qmi.start("srv", sys.argv[1])
horn = qmi.make_instrument("horn", Horn)
horn.blow_many(int(sys.argv[2]), int(sys.argv[2]) + 3)
print("ready", flush=True)
qmi.context().wait_until_shutdown()
"""


@pytest.mark.parametrize("tls", [False, True])
async def test_everything_of_a_signal_is_permitted(tls: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    make_certificates(tmp_path, SERVER_NAME, "srv", "desk")
    contexts = {"srv": {"host": "127.0.0.1", "tcp_server_port": 0}, "desk": {}}
    path = write_site(tmp_path, tls=tls, contexts=contexts)
    with site(path):
        configs = {name: load_config(path) for name in ("srv", "desk")}
        for name, loaded in configs.items():
            loaded.security = files_of(tmp_path, name) if tls else loaded.security
        lab, desk = (Context(name, loaded) for name, loaded in configs.items())
        async with lab.running(), desk.running():
            horn = await lab.make_instrument("horn", Horn)
            await horn.blow_many(0, 3)
            for here in (lab, desk):
                receiver = QMI_SignalReceiver(report_gaps=True)
                await here.subscribe_signal("srv", "horn", "sig", receiver, since=60)
                last = QMI_SignalReceiver(report_gaps=True)
                await here.subscribe_signal("srv", "horn", "sig", last, last=True)
                assert [await next_value(receiver) for _ in range(3)] == [0, 1, 2]
                assert await next_value(last) == 2
            async with cut_off(desk):
                await horn.blow_many(3, 5)
            assert [await next_value(receiver) for _ in range(4)] == ["lost", "resumed", 3, 4]
            signals = engine_of(desk).following
            assert await signals._is_there("srv", lab.origin.incarnation)
            assert not await signals._is_there("srv", "00" * 8)
            assert engine_of(lab).client.unkept == 0
    assert "Permissions" not in caplog.text


async def test_killed_publisher_is_told_at_once_and_so_is_the_next_one(tmp_path: Path) -> None:
    path = write_site(tmp_path, contexts={"srv": {"host": "127.0.0.1", "tcp_server_port": 0}, "desk": {}})

    def start(first: int) -> subprocess.Popen[str]:
        run = [sys.executable, "-c", PUBLISHER, str(path), str(first)]
        return subprocess.Popen(run, stdout=subprocess.PIPE, text=True)

    def wait_ready(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    with site(path):
        async with Context("desk", load_config(path)).running() as desk:
            receiver = QMI_SignalReceiver(report_gaps=True)
            for first in (0, 10):
                process = start(first)
                try:
                    await trio.to_thread.run_sync(wait_ready, process)
                    if not first:
                        await desk.subscribe_signal("srv", "horn", "sig", receiver, since=60)
                    else:
                        assert await next_value(receiver) == "restarted"
                    assert [await next_value(receiver) for _ in range(3)] == [first, first + 1, first + 2]
                finally:
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                    assert process.stdout is not None
                    process.stdout.close()
                with trio.fail_after(1):
                    assert await next_value(receiver) == "lost"
