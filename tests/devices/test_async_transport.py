from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from qmi.core.exceptions import (
    QMI_InstrumentException,
    QMI_InvalidOperationException,
    QMI_OutOfStepException,
    QMI_TimeoutException,
    QMI_TransportDescriptorException,
    QMI_TransportLostException,
)
from qmi.core.transport import AsyncSerialTransport, AsyncTransport, Reconnect, create_async_transport
from tests.support.device_ends import ENDS, Line, async_line_to
from tests.support.vxi11_server import vxi11_device


@pytest.fixture(params=[*sorted(ENDS), "serial in a thread"])
async def line(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    if request.param == "serial in a thread":
        monkeypatch.setattr(AsyncSerialTransport, "_wait_in_thread", True)
    async with async_line_to(request.param.split()[0]) as made:
        yield made


async def test_transport_reads_what_the_device_sends(line: Line) -> None:
    line.send(b"abc\ndef\nghi")
    transport = line.transport
    assert await transport.read_until(b"\n", 5.0) == b"abc\n"
    assert await transport.read(2, 5.0) == b"de"
    assert await transport.read_until(b"\n", None) == b"f\n"
    assert await transport.read_until_timeout(3, 5.0) == b"ghi"
    line.send(b"1234")
    memory = bytearray(4)
    await transport.readinto(memory, 5.0)
    assert memory == b"1234"


async def test_transport_writes_everything(line: Line) -> None:
    await line.transport.write(b"x" * 1000)
    received = b""
    while len(received) < 1000:
        received += line.receive()
    assert received == b"x" * 1000


async def test_read_that_times_out_keeps_what_has_come(line: Line) -> None:
    line.send(b"abc")
    transport = line.transport
    # A thread at a port may not be that fast: how many have come by then is not the point.
    with pytest.raises(QMI_TimeoutException, match=r"Timeout after \d bytes while expecting 4"):
        await transport.read(4, 0.02)
    with pytest.raises(QMI_TimeoutException, match=r"Timeout after \d bytes without message terminator"):
        await transport.read_until(b"\n", 0.0)
    with pytest.raises(QMI_TimeoutException, match=r"Timeout after \d bytes while expecting 4"):
        await transport.readinto(bytearray(4), 0.0)
    assert await transport.read(3, 5.0) == b"abc"


async def test_discard_read_drops_what_has_come(line: Line) -> None:
    line.send(b"a\nb")
    assert await line.transport.read_until(b"\n", 5.0) == b"a\n"
    await line.transport.discard_read()
    line.send(b"c\n")
    assert await line.transport.read_until(b"\n", 5.0) == b"c\n"


async def test_closed_transport_refuses_everything(line: Line) -> None:
    transport = line.transport
    with pytest.raises(QMI_InvalidOperationException, match="open transport"):
        await transport.open()
    await transport.close()
    for call in (
        transport.close,
        transport.discard_read,
        lambda: transport.write(b""),
        lambda: transport.read(1, 0.0),
        lambda: transport.read_until(b"\n", 0.0),
        lambda: transport.read_until_timeout(1, 0.0),
        lambda: transport.readinto(bytearray(1), 0.0),
    ):
        with pytest.raises(QMI_InvalidOperationException, match="call its open"):
            await call()
    await transport.open()


async def ask(line: Line, question: bytes, answer: bytes) -> Any:
    await line.transport.write(question)
    assert line.receive().endswith(question)
    line.send(answer)
    return await line.transport.read_until(b"\n", 5.0)


async def ask_and_be_cancelled(line: Line, question: bytes) -> None:
    """Ask a device that does not answer, and be cancelled while its answer is waited for."""
    await line.transport.write(question)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.transport.read_until, b"\n", None)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    line.receive()
    assert not line.transport.is_in_step


@pytest.mark.fault(58)
@pytest.mark.parametrize("rounds", [100, pytest.param(1000, marks=pytest.mark.slow)])
async def test_late_answer_is_never_taken_for_that_of_the_next_question(line: Line, rounds: int) -> None:
    for number in range(rounds):
        await ask_and_be_cancelled(line, b"late %d?\n" % number)
        line.send(b"late %d\n" % number)
        assert await ask(line, b"now %d?\n" % number, b"now %d\n" % number) == b"now %d\n" % number


async def test_late_answer_after_a_timeout_is_dropped(line: Line) -> None:
    for number in range(20):
        await line.transport.write(b"late?\n")
        with pytest.raises(QMI_TimeoutException):
            await line.transport.read_until(b"\n", 0.0)
        line.receive()
        line.send(b"late\n")
        assert await ask(line, b"now?\n", b"now %d\n" % number) == b"now %d\n" % number


@pytest.mark.fault(58)
async def test_cancelled_read_ends_at_once_and_loses_nothing(line: Line) -> None:
    transport = line.transport
    line.send(b"half ")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.read_until, b"\n", None)
        await trio.testing.wait_all_tasks_blocked(0.02)
        nursery.cancel_scope.cancel()
    line.send(b"an answer\n")
    assert await transport.read_until(b"\n", 5.0) == b"half an answer\n"


@pytest.mark.parametrize("kind", ["tcp", "serial", "udp"])
async def test_cancelled_read_ends_within_two_turns_of_the_loop(kind: str) -> None:
    class Turns(trio.abc.Instrument):
        count = 0

        def before_io_wait(self, timeout: float) -> None:
            self.count += 1

    async with async_line_to(kind) as line, trio.open_nursery() as nursery:
        nursery.start_soon(line.transport.read_until, b"\n", None)
        await trio.testing.wait_all_tasks_blocked()
        turns = Turns()
        trio.lowlevel.add_instrument(turns)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            while nursery.child_tasks:
                await trio.lowlevel.checkpoint()
        trio.lowlevel.remove_instrument(turns)
        assert turns.count <= 2


async def test_write_that_was_cancelled_before_its_first_byte_leaves_nothing_behind(line: Line) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await line.transport.write(b"never\n")
    assert await ask(line, b"now?\n", b"now\n") == b"now\n"


@pytest.mark.fault(58)
async def test_half_a_command_is_forgotten_with_its_connection(autojump_clock: trio.testing.MockClock) -> None:
    async with async_line_to("tcp") as line:
        line.transport._safe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with trio.move_on_after(1):
            await line.transport.write(b"x" * 50_000_000)
        assert line.transport._sent
        assert await ask(line, b"now?\n", b"now\n") == b"now\n"


async def test_half_a_command_at_a_serial_port_stops_the_next_one() -> None:
    async with async_line_to("serial") as line:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.transport.write, b"x" * 1_000_000)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        with pytest.raises(QMI_OutOfStepException, match="part of a command"):
            await line.transport.write(b"now?\n")


@pytest.mark.parametrize("kind", ["tcp", "serial"])
async def test_lost_connection_is_told_from_a_slow_one(kind: str) -> None:
    async with async_line_to(kind) as line:
        line.cut()
        for _ in range(2):
            with pytest.raises(QMI_TransportLostException):
                await line.transport.read_until(b"\n", 5.0)


async def test_connection_comes_back_and_is_greeted() -> None:
    async with async_line_to("tcp") as line:
        greeted = []

        async def identify(transport: AsyncTransport) -> str:
            greeted.append("who")
            return "me"

        async def restore(transport: AsyncTransport) -> None:
            greeted.append("restore")
            await transport.write(b"VOLT 1\n")

        events: list[str] = []
        line.transport.configure(
            reconnect=Reconnect(identify=identify, restore=restore, on_event=lambda event: events.append(event.what))
        )
        await line.transport.write(b"one?\n")
        line.cut()
        with pytest.raises(QMI_TransportLostException):
            await line.transport.read_until(b"\n", 5.0)
        with pytest.raises(QMI_TransportLostException, match="next write makes it again"):
            await line.transport.read_until(b"\n", 5.0)
        await line.transport.write(b"two?\n")
        assert line.receive() == b"VOLT 1\ntwo?\n"
        assert greeted == ["who", "restore"]
        assert events == ["lost", "restored"]


async def test_driver_can_say_how_to_get_in_step(line: Line) -> None:
    async def resynchronize(transport: AsyncTransport) -> None:
        await transport.write(b"sync\n")
        assert line.receive() == b"sync\n"
        line.send(b"late\nsync\n")
        while await transport.read_until(b"\n", 5.0) != b"sync\n":
            pass

    line.transport.configure(resynchronize=resynchronize)
    await ask_and_be_cancelled(line, b"late?\n")
    assert await ask(line, b"now?\n", b"now\n") == b"now\n"


async def test_exchange_that_is_left_between_question_and_answer_is_out_of_step(line: Line) -> None:
    async def work() -> None:
        with line.transport.exchange():
            await line.transport.write(b"late?\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert not line.transport.is_in_step


async def test_visa_runs_in_a_thread_of_its_own_and_keeps_in_step() -> None:
    with vxi11_device() as (device, port):
        device.answers = {b"*IDN?\n": b"ACME\n"}
        async with create_async_transport(f"vxi11:127.0.0.1:rpc_port={port}") as transport:
            await transport.write(b"*IDN?\n")
            assert await transport.read_until(b"\n", 2.0) == b"ACME\n"
            for number in range(20):
                await transport.write(b"late?\n")
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await transport.read_until(b"\n", 0.001)
                assert not transport.is_in_step
                device.answer(b"late\n")
                device.answers[b"now?\n"] = b"now %d\n" % number
                await transport.write(b"now?\n")
                assert await transport.read_until(b"\n", 2.0) == b"now %d\n" % number


async def test_serial_port_in_the_loop_leaves_no_descriptor_behind() -> None:
    def descriptors(device: str) -> int:
        # Only those of this port: what other tests have left to the garbage collector comes and goes.
        count = 0
        for number in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                count += os.readlink(f"/proc/self/fd/{number}") == device
        return count

    async with async_line_to("serial") as line:
        device = line.transport._port.device
        before = descriptors(device)
        for _ in range(5):
            await line.transport.close()
            assert descriptors(device) == before - 1
            await line.transport.open()
        assert descriptors(device) == before


async def test_lost_connection_of_a_device_that_only_speaks_is_made_again_by_a_read() -> None:
    async with async_line_to("tcp") as line:
        line.transport.configure(reconnect=True)
        line.cut()
        with pytest.raises(QMI_TransportLostException):
            await line.transport.read_until(b"\n", 5.0)
        assert await line.transport.read_until_timeout(1, 0.0) == b""
        line.send(b"tick\n")
        assert await line.transport.read_until(b"\n", 5.0) == b"tick\n"


async def test_device_that_is_away_is_tried_with_growing_delays(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with async_line_to("tcp") as line:
        line.transport.configure(reconnect=Reconnect(4, 0.5, 3.0, 4.0))
        await line.transport.write(b"x?\n")
        line.cut()
        with pytest.raises(QMI_TransportLostException):
            await line.transport.read(1, 5.0)

        async def refuse() -> None:
            raise ConnectionRefusedError("refused")

        with monkeypatch.context() as patch:
            patch.setattr(line.transport, "_connect", refuse)
            before = trio.current_time()
            with pytest.raises(QMI_TransportLostException, match=r"cannot be made again, .*refused"):
                await line.transport.write(b"y?\n")
            assert trio.current_time() - before == pytest.approx(0.5 + 1.5 + 4.0)
        await line.transport.write(b"y?\n")
        assert line.receive() == b"y?\n"


@pytest.mark.parametrize("error", [QMI_TransportLostException("again"), ZeroDivisionError()])
async def test_driver_that_cannot_restore_its_settings_is_heard(error: Exception) -> None:
    async with async_line_to("tcp") as line:
        tries: list[int] = []

        def restore(transport: AsyncTransport) -> None:
            tries.append(len(tries))
            if len(tries) < 3:
                raise error

        line.transport.configure(reconnect=Reconnect(delay=0.0, restore=restore))
        await line.transport.write(b"x?\n")
        line.cut()
        with pytest.raises(QMI_TransportLostException):
            await line.transport.read(1, 5.0)
        if isinstance(error, ZeroDivisionError):
            for _ in range(2):
                with pytest.raises(ZeroDivisionError):
                    await line.transport.write(b"y?\n")
        await line.transport.write(b"y?\n")
        assert len(tries) == 3


async def test_identity_is_asked_for_by_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [b"A\n", b"A\n", b"B\n"]
    async with async_line_to("tcp") as line:
        send = line.transport._send

        async def answering(data: bytes) -> None:
            await send(data)
            if data == b"*IDN?\n":
                line.send(names.pop(0))

        monkeypatch.setattr(line.transport, "_send", answering)
        await line.transport.close()
        line.transport.configure(reconnect="*IDN?")
        await line.transport.open()
        for expected in (None, QMI_InstrumentException):
            await line.transport.write(b"x?\n")
            line.cut()
            with pytest.raises(QMI_TransportLostException):
                await line.transport.read_until(b"\n", 5.0)
            if expected is None:
                await line.transport.write(b"y?\n")
            else:
                with pytest.raises(expected, match="Another device answers"):
                    await line.transport.write(b"y?\n")


async def test_transport_is_closed_if_nobody_says_who_is_there() -> None:
    with ENDS["tcp"]() as end:
        transport = create_async_transport(end.descriptor + ":reconnect=*IDN?")

        async def identify(transport: AsyncTransport) -> None:
            raise ZeroDivisionError

        transport.configure(reconnect=Reconnect(identify=identify))
        with pytest.raises(ZeroDivisionError):
            await transport.open()
        with pytest.raises(QMI_InvalidOperationException):
            await transport.close()


async def test_connection_that_takes_too_long_is_a_timeout(autojump_clock: trio.testing.MockClock) -> None:
    transport = create_async_transport("tcp:127.0.0.1:5:connect_timeout=3")

    async def never(host: str, port: int) -> None:
        await trio.sleep_forever()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio, "open_tcp_stream", never)
        with pytest.raises(QMI_TimeoutException, match=r"no connection to 127.0.0.1:5 within 3.0 s"):
            await transport.open()


async def test_driver_that_cannot_get_in_step_fails_the_next_question(line: Line) -> None:
    def resynchronize(transport: AsyncTransport) -> None:
        raise QMI_OutOfStepException("no way")

    line.transport.configure(resynchronize=resynchronize)
    await ask_and_be_cancelled(line, b"late?\n")
    for _ in range(2):
        with pytest.raises(QMI_OutOfStepException, match="no way"):
            await line.transport.write(b"now?\n")


async def test_rest_of_an_answer_of_unknown_length_is_dropped(line: Line) -> None:
    await line.transport.write(b"x?\n")
    line.receive()
    line.send(b"1234")
    assert await line.transport.read(4, 5.0) == b"1234"
    assert await line.transport.read_until_timeout(100, 0.0) == b""
    line.send(b"5678")
    await trio.testing.wait_all_tasks_blocked()
    assert await ask(line, b"two?\n", b"two\n") == b"two\n"


async def test_counted_answer_that_is_late_is_dropped_whole(line: Line) -> None:
    await line.transport.write(b"x?\n")
    with pytest.raises(QMI_TimeoutException):
        await line.transport.read(4, 0.0)
    line.receive()
    line.send(b"12345678")
    assert await ask(line, b"two?\n", b"two\n") == b"two\n"


async def test_answer_that_never_comes_is_given_up(line: Line) -> None:
    line.transport.configure(drain_timeout=0.0)
    await ask_and_be_cancelled(line, b"late?\n")
    assert await ask(line, b"now?\n", b"now\n") == b"now\n"


async def test_long_answer_is_read_whole() -> None:
    async with async_line_to("tcp") as line:
        line.send(bytes(200_000))
        assert await line.transport.read(150_000, 5.0) == bytes(150_000)
        assert await line.transport.read(50_000, 5.0) == bytes(50_000)


async def test_thread_transport_reads_in_every_way_and_is_configured_through() -> None:
    with vxi11_device() as (device, port):
        transport = create_async_transport(f"vxi11:127.0.0.1:rpc_port={port}:reconnect=true")
        assert str(transport) == "QMI_Vxi11Transport(127.0.0.1)"
        assert transport.reconnect == Reconnect()
        transport.configure(drain_timeout=0.5, name="scope")
        with pytest.raises(QMI_InvalidOperationException):
            await transport.write(b"x")
        async with transport:
            with pytest.raises(QMI_InvalidOperationException, match="open transport"):
                await transport.open()
            device.answers = {b"?": b"0123456789"}
            await transport.write(b"?")
            assert await transport.read(2, 1.0) == b"01"
            memory = bytearray(3)
            await transport.readinto(memory, 1.0)
            assert memory == b"234"
            assert await transport.read_until_timeout(2, 1.0) == b"56"
            await transport.discard_read()
            assert await transport.read_until_timeout(2, 0.001) == b""
    nowhere = create_async_transport("visa:GPIB0::x::INSTR@sim")
    with pytest.raises(QMI_InstrumentException, match="cannot be opened"):
        await nowhere.open()


async def test_transports_of_the_loop_refuse_what_those_of_threads_refuse() -> None:
    for descriptor in ("tcp:-a:1", "udp:a:35999", "serial:x:baudrate=1", "tcp:a:0", "nothing:1"):
        with pytest.raises(QMI_TransportDescriptorException):
            create_async_transport(descriptor)
    assert str(create_async_transport("tcp:localhost:5")) == "AsyncTcpTransport(remote=127.0.0.1:5)"
    with pytest.raises(QMI_TransportLostException, match="has no connection"):
        await create_async_transport("tcp:localhost:5")._receive(1, None)
    bare = AsyncTransport()
    for call in (bare.open, lambda: bare._send(b""), lambda: bare._receive(1, None)):
        with pytest.raises(NotImplementedError, match="AsyncTransport"):
            await call()
