"""A server that comes back under many clients at once."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

import qmi
from qmi.core.context import Context
from qmi.core.exceptions import QMI_MessageDeliveryException
from qmi.core.pubsub import QMI_SignalReceiver
from tests.soak.load import CONFIG
from tests.soak.world import Program
from tests.support.ports import free_port

CLIENTS = 100


async def call_again(context: Context) -> None:
    """Call until the server is there again."""
    while True:
        try:
            bench = await context.get_rpc_object("mortal.bench")
            assert await bench.echo("0", 7) == 7
            return
        except QMI_MessageDeliveryException:
            await trio.sleep(0.02)


@pytest.mark.slow
async def test_fault_38_a_hundred_clients_are_back_within_five_seconds(tmp_path: Path) -> None:
    port, ledger = free_port(), tmp_path / "ledger"
    server = Program("mortal", ["tests.soak.server", "mortal", str(port), str(ledger)], tmp_path, ledger)
    server.hear("ready")
    try:
        async with AsyncExitStack() as stack:
            contexts: list[Context] = []
            receivers: list[QMI_SignalReceiver] = []
            for number in range(CLIENTS):
                context = await stack.enter_async_context(
                    qmi.open_context(f"client{number}", None, init_logging=False, config=CONFIG)
                )
                await context.connect_to_peer("mortal", f"127.0.0.1:{port}", reconnect=True)
                bench: Any = await context.get_rpc_object("mortal.bench")
                receivers.append(QMI_SignalReceiver())
                await bench.sig_count.subscribe(receivers[-1])
                contexts.append(context)
            assert await (await contexts[0].get_rpc_object("mortal.vault0")).lock()
            await trio.to_thread.run_sync(server.kill)
            server.start()
            await trio.to_thread.run_sync(server.hear, "ready")
            with trio.fail_after(5):
                async with trio.open_nursery() as nursery:
                    for context in contexts:
                        nursery.start_soon(call_again, context)
            assert not await (await contexts[1].get_rpc_object("mortal.vault0")).is_locked(), "an old lock lives"
            for receiver in receivers:
                receiver.discard_all()
            with trio.fail_after(5):
                await (await contexts[0].get_rpc_object("mortal.bench")).publish("1")
                for receiver in receivers:
                    await receiver.next_signal()
            await trio.sleep(0.2)  # a second copy would come right behind the first
            assert [receiver.get_queue_length() for receiver in receivers] == [0] * CLIENTS
    finally:
        server.end(20)
