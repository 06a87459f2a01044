"""What IPython and notebooks show of a proxy: its context is asked, and never the object, whatever that does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import qmi
from qmi.actors import proxy_card
from qmi.actors.context_object import ContextObject
from qmi.core.context import QMI_Context
from qmi.core.driver import QMI_Instrument, Snapshot, diff, parameter, rpc_method
from tests.support.html_pages import HOSTILE, read
from tests.support.lab import two_contexts
from tests.support.parameters import Registers, Supply

pytest.importorskip("IPython")


class Watched(QMI_Instrument):
    """Notes what is called of it."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.seen: list[str] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.text = HOSTILE[0]

    @parameter(unit="V")
    def voltage(self) -> float:
        """Voltage."""
        self.seen.append("voltage")
        return 1.5

    @parameter(unit="<b>")
    def label(self) -> str:
        """What is written on it."""
        return self.text

    @rpc_method
    def get_seen(self) -> list[str]:
        """What was called."""
        return self.seen

    @rpc_method
    def snapshot(self, update: bool = False) -> Snapshot:
        """One of its own, which asks the device."""
        self.seen.append("snapshot")
        raise AssertionError

    @rpc_method
    def stay(self) -> None:
        """Be busy."""
        self.begun.set()
        self.go_on.wait(30.0)

    @rpc_method
    def fail(self) -> None:
        """Fail."""
        raise ValueError("<script>the fuse is blown</script>")


@pytest.fixture
def both() -> Iterator[tuple[QMI_Context, QMI_Context]]:
    with two_contexts() as found:
        found[0].make_instrument("watched", Watched)
        yield found


@pytest.fixture(params=["here", "elsewhere"])
def watched(request: pytest.FixtureRequest, both: tuple[QMI_Context, QMI_Context]) -> Any:
    return both[request.param == "elsewhere"].get_instrument("server.watched")


def texts(shown: str) -> str:
    return " | ".join(read(shown).texts)


@pytest.mark.parametrize("view", ["rpc_blocking", "rpc_nonblocking", "rpc_async"])
def test_proxy_shows_its_parameters_as_they_are_known(watched: Any, view: str) -> None:
    proxy = getattr(qmi, view)(watched)
    before = texts(proxy._repr_html_())
    assert "server.watched" in before
    assert "not read yet" in before
    assert watched.voltage == 1.5
    assert watched.label == HOSTILE[0]
    found = proxy._repr_mimebundle_()
    assert read(found["text/html"])
    for shown in (texts(found["text/html"]), found["text/plain"]):
        assert "1.5" in shown
        assert HOSTILE[0] in shown
        assert "reading" in shown
    assert found["text/plain"].startswith(repr(proxy))
    assert "\n" not in repr(proxy)
    assert watched.get_seen() == ["voltage"]


def test_proxy_shows_one_that_is_busy_locked_and_has_failed(
    watched: Any, both: tuple[QMI_Context, QMI_Context]
) -> None:
    with pytest.raises(ValueError, match="fuse"):
        watched.fail()
    actor = both[0].async_context.registry.get("watched")
    assert actor is not None
    assert watched.reserve("night <run>")
    future = watched.rpc_nonblocking.stay()
    assert actor.object.begun.wait(30.0)
    shown = texts(watched._repr_html_())
    assert "busy with stay()" in shown
    assert "night <run>" in shown
    assert "the fuse is blown" in shown
    other = both[0].get_instrument("watched")
    assert "night <run>" in texts(other._repr_html_())
    actor.object.go_on.set()
    future.wait()
    assert watched.get_seen() == []


def test_proxy_shows_that_its_object_is_gone(both: tuple[QMI_Context, QMI_Context]) -> None:
    server, client = both
    here: Any = server.get_instrument("watched")
    elsewhere: Any = client.get_instrument("server.watched")
    server.remove_rpc_object(here)
    for proxy in (here, elsewhere):
        assert "has no 'watched' any more" in texts(proxy._repr_html_())
    server.stop()
    for proxy in (here, elsewhere):
        shown = proxy._repr_mimebundle_()["text/plain"].splitlines()
        assert shown[0] == repr(proxy)
        assert len(shown) > 1


def test_proxy_does_not_wait_for_a_context_that_does_not_answer(
    both: tuple[QMI_Context, QMI_Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy: Any = both[1].get_instrument("server.watched")
    go_on = threading.Event()

    def stuck(self: ContextObject) -> dict[str, Any]:
        go_on.wait(30.0)
        return {}

    monkeypatch.setattr(ContextObject, "get_status", stuck)
    begun = time.monotonic()
    shown = texts(proxy._repr_html_())
    went = time.monotonic() - begun
    go_on.set()
    assert "does not answer" in shown
    assert went < proxy_card.PATIENCE + 5.0  # one patience for all that is asked; the rest is what a busy machine takes


def test_proxy_shows_what_an_older_version_tells(
    both: tuple[QMI_Context, QMI_Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    from qmi.core.exceptions import QMI_UnknownRpcException

    def unknown(self: object, *args: object) -> None:
        raise QMI_UnknownRpcException("no such method")

    monkeypatch.setattr(ContextObject, "get_status", unknown)
    monkeypatch.setattr(ContextObject, "get_readings", unknown)
    proxy: Any = both[1].get_instrument("server.watched")
    assert "older version" in texts(proxy._repr_html_())


@pytest.mark.parametrize("told", [7, {"voltage": 3}, {"voltage": ("x", "y")}, {"voltage": (object(), float("nan"))}])
def test_proxy_shows_whatever_another_program_tells(
    both: tuple[QMI_Context, QMI_Context], monkeypatch: pytest.MonkeyPatch, told: object
) -> None:
    monkeypatch.setattr(ContextObject, "get_readings", lambda self, name: told)
    proxy: Any = both[0].get_instrument("watched")
    assert "server.watched" in texts(proxy._repr_html_())


def test_proxy_within_a_list_is_short_in_ipython(both: tuple[QMI_Context, QMI_Context]) -> None:
    from IPython.lib import pretty as ipython

    pretty: Any = ipython.pretty
    proxy: Any = both[0].get_instrument("watched")
    assert pretty([proxy]) == f"[{proxy!r}]"
    assert pretty(proxy).splitlines()[0] == repr(proxy)
    assert "voltage" in pretty(proxy)


def test_proxy_with_a_long_value_has_short_lines(both: tuple[QMI_Context, QMI_Context]) -> None:
    actor = both[0].async_context.registry.get("watched")
    assert actor is not None
    actor.object.text = "x" * 5000
    watched: Any = both[0].get_instrument("watched")
    assert watched.label == "x" * 5000
    assert max(map(len, watched._repr_mimebundle_()["text/plain"].splitlines())) < 80


def test_proxy_of_200_parameters_is_shown(both: tuple[QMI_Context, QMI_Context]) -> None:
    declared = {f"p{number}": parameter(f"P{number}", float, unit="V") for number in range(200)}
    server, _ = both
    proxy: Any = server.make_instrument("many", type("Many", (Registers,), {"__module__": __name__, **declared}))
    assert "160 more" in texts(proxy._repr_html_())
    assert "140 more parameters" in proxy._repr_mimebundle_()["text/plain"]


def test_snapshots_and_their_differences_are_shown_as_tables(both: tuple[QMI_Context, QMI_Context]) -> None:
    server, client = both
    server.make_instrument("psu", Supply)
    psu: Any = client.get_instrument("server.psu")
    psu.voltage = 3.0
    psu.label = HOSTILE[1]
    before = psu.snapshot()
    psu.voltage = 4.5
    changes = diff(before, psu.snapshot())
    assert changes == list(changes)
    assert HOSTILE[1] in texts(before._repr_html_()).replace("\\", "")
    assert "3.0 | 4.5 | V" in texts(changes._repr_html_()).replace(" |  | ", " | ")
    assert "no differences" in texts(diff(before, before)._repr_html_())


def test_status_of_a_context_is_shown_as_a_card(both: tuple[QMI_Context, QMI_Context]) -> None:
    shown = texts(both[1].get_status("server")._repr_html_())
    assert "watched" in shown
    assert "client" in shown
