"""The sections of the tutorial in which programs use each other's instruments, each at a prompt of its own."""

from __future__ import annotations

import re
import socket

import pytest

from tests.support.desk import CONTEXT, LOG_LINES, STAMP, Desk, Prompt, follow
from tests.support.ports import free_port
from tests.support.tutorial import Session, Tutorial

REMOTE = "Accessing a remote instrument"
AUTOCONNECT = "Using the 'autoconnect' option"
# The tutorial's configuration shows messages of level INFO; which there are, it does not say.
LOGGED = {
    "qmi.start(": LOG_LINES + CONTEXT,
    "connect_to_peer(": f"({LOG_LINES})?",
    "get_instrument(": f"({LOG_LINES})?",
}


def configure(tutorial: Tutorial, desk: Desk, name: str = "instr_server") -> int:
    """Write the tutorial's configuration, but for a port of its own, and looking for contexts on this machine alone."""
    port = free_port()
    text = tutorial[REMOTE].configuration.replace("40001", str(port)).replace("instr_server", name)
    discovery = f'"port": {free_port(socket.SOCK_DGRAM)}, "broadcast_addresses": ["127.255.255.255"]'
    desk.write("qmi.conf", f'{text.rstrip().removesuffix("}")}, "discovery": {{{discovery}}}}}')
    return port


def serve(desk: Desk, tutorial: Tutorial) -> Prompt:
    """Start the instrument server of the tutorial."""
    server = desk.prompt()
    follow(server, tutorial[REMOTE].sessions[0], LOGGED)
    return server


def test_accessing_a_remote_instrument(tutorial: Tutorial, desk: Desk) -> None:
    configure(tutorial, desk)
    serve(desk, tutorial)
    follow(desk.prompt(), tutorial[REMOTE].sessions[1], LOGGED)


@pytest.mark.slow
def test_table_of_network_contexts_has_the_columns_of_the_tutorial(tutorial: Tutorial, desk: Desk) -> None:
    port = configure(tutorial, desk)
    serve(desk, tutorial)
    client = desk.prompt()
    begin, (shown,) = (
        tutorial[REMOTE].sessions[1],
        [s for s in tutorial[REMOTE].sessions if "connected" in s.steps[0].text],
    )
    for connected in ("no", "yes"):
        follow(client, Session(begin.steps[:2] if connected == "no" else begin.steps[2:]), LOGGED)
        printed = client.type("qmi.show_network_contexts()").splitlines()
        header, line, row, end = (line for line in printed if not re.match(STAMP, line))
        assert header.split() == shown.steps[0].text.split()
        assert row.split() == ["instr_server", f"127.0.0.1:{port}", connected]
        assert re.fullmatch("-+ -+ -+", line)
        assert line == end


def test_autoconnect(tutorial: Tutorial, desk: Desk) -> None:
    port = configure(tutorial, desk)
    serve(desk, tutorial)
    session, _ = tutorial[AUTOCONNECT].sessions
    follow(desk.prompt(), session.replace("145.90.38.138:54704", f"127.0.0.1:{port}"), LOGGED)


def test_autoconnect_by_discovery(tutorial: Tutorial, desk: Desk) -> None:
    configure(tutorial, desk)
    serve(desk, tutorial)
    client = desk.prompt()
    begin, session = tutorial[AUTOCONNECT].sessions
    follow(client, Session(begin.steps[:2]), LOGGED)
    follow(client, session, LOGGED)


def test_unlocking_from_another_context(tutorial: Tutorial, desk: Desk) -> None:
    configure(tutorial, desk, "lock_demo")
    locking = tutorial["Locking an instrument"].sessions
    server = desk.prompt()
    for step in tutorial[REMOTE].sessions[0].steps[:2]:
        server.type(step.text)
    for session in locking[:2]:
        follow(server, session, LOGGED)
    (lock,) = (step for session in locking for step in session.steps if "nsg1.lock(lock_token" in step.text)
    follow(server, Session((lock,)))
    follow(desk.prompt(), locking[-1], LOGGED)
    assert server.type("nsg2.is_locked()").splitlines()[-1] == "False"
