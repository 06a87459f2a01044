"""Instruments and tasks of the configuration come up, whatever one of them does, and are made anew one by one."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmi.actors.tasks.restart import RestartRule
from qmi.contexts import configured, configured_classes
from qmi.core.context import ConfiguredObject, QMI_Context
from qmi.core.exceptions import (
    QMI_InvalidOperationException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from tests.support.configured import HERE, Hanging, HangingMake, Meter, Watch
from tests.support.hosted import Heater, Psu
from tests.support.lab import address, config
from tests.support.waiting import wait_until

METER = {"driver": f"{HERE}:Meter"}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Meter.opened.clear()
    Watch.runs.clear()
    for event in (Hanging.may_open, HangingMake.may_go):
        event.clear()
    quick = RestartRule(limit=None, window=60.0, first_delay=0.0, growth=1.0)
    monkeypatch.setattr(configured_classes, "RECONNECT", quick)
    yield
    for event in (Hanging.may_open, HangingMake.may_go):
        event.set()


def lab(instruments: dict[str, Any], tasks: dict[str, Any] | None = None, **settings: Any) -> QMI_Context:
    return QMI_Context("lab", config("lab", context={"instruments": instruments, "tasks": tasks or {}, **settings}))


def states(context: QMI_Context) -> dict[str, str]:
    return {entry.name: entry.state for entry in context.list_configured()}


def by_name(entries: list[ConfiguredObject]) -> dict[str, ConfiguredObject]:
    return {entry.name: entry for entry in entries}


def test_configured_objects_come_up_open_and_running_and_are_closed_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    instruments = {"one": METER, "two": {**METER, "kwargs": {"mode": "SLOW"}}, "three": {**METER, "open": False}}
    tasks = {"watch": {"task": f"{HERE}:Watch"}, "later": {"task": f"{HERE}:Watch", "start": False}}
    with lab(instruments, tasks) as context:
        assert context.list_configured() == []
        made = context.make_configured()
        assert [(entry.name, entry.category, entry.state) for entry in made] == [
            ("one", "instrument", "ready"),
            ("two", "instrument", "ready"),
            ("three", "instrument", "ready"),
            ("watch", "task", "ready"),
            ("later", "task", "ready"),
        ]
        one, two, three = (context.get_instrument(f"lab.{name}") for name in ("one", "two", "three"))
        assert [one.is_open(), two.is_open(), three.is_open()] == [True, True, False]
        assert two.get_mode() == "SLOW"
        assert context.get_task("lab.watch").is_running()
        assert context.get_task("lab.later").get_state().state == "new"
        with pytest.raises(QMI_UsageException, match="were made before"):
            context.make_configured()
    assert "is still open" not in caplog.text


@pytest.mark.fault(60)
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"driver": f"{HERE}:Broken"}, "cannot be made: RuntimeError: no such device"),
        ({"driver": f"{HERE}:Meter", "args": ["/no/such/device"]}, "cannot be opened: OSError: nothing answers at"),
        ({"driver": "no_such_module:Meter"}, "contexts.lab.instruments.bad.driver: there is no module"),
        ({"driver": f"{HERE}:Meter", "args": [1, 2, 3]}, "contexts.lab.instruments.bad: Meter(there"),
    ],
)
def test_configured_instrument_that_fails_keeps_nobody_from_coming_up(
    bad: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with lab({"bad": bad, "good": METER}, {"watch": {"task": f"{HERE}:Watch"}}) as context:
        found = by_name(context.make_configured())
        assert (found["bad"].state, found["good"].state, found["watch"].state) == ("failed", "ready", "ready")
        assert found["bad"].reason.startswith(reason)
        assert found["bad"].retry_in < 0
        # It is shown to everybody, also where there is no object.
        context.show_instruments()
        [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("lab.bad ")]
        assert f"failed: {reason}" in line
        assert sum(reason in record.getMessage() for record in caplog.records) == 1
        names = [name for name, _ in context.list_rpc_objects("instrument")]
        if "cannot be opened" in reason:
            assert names == ["lab.bad", "lab.good"]
        else:
            assert names == ["lab.good"]
            with pytest.raises(QMI_UnknownNameException, match="no object named 'bad': it has failed: "):
                context.get_instrument("lab.bad")


def test_configured_faults_are_logged_at_once_with_their_places(caplog: pytest.LogCaptureFixture) -> None:
    with lab({"a": {"driver": "no_a:A"}, "b": METER}, {"c": {"task": "no_c:C"}}) as context:
        context.make_configured()
    [text] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert text.startswith("The configuration of context lab has 2 faults:\n")
    assert "contexts.lab.instruments.a.driver: there is no module 'no_a'" in text
    assert "contexts.lab.tasks.c.task: there is no module 'no_c'" in text


@pytest.mark.fault(60)
def test_configured_instrument_is_tried_again_until_it_is_there(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    device = home / "device"
    with lab({"dmm": {**METER, "args": [str(device)], "reconnect": True}}) as context:
        context.make_configured()
        assert wait_until(lambda: context.list_configured()[0].attempts > 3)
        assert states(context) == {"dmm": "failed"}
        device.touch()
        assert wait_until(lambda: states(context) == {"dmm": "ready"})
        assert context.get_instrument("lab.dmm").is_open()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1  # however often it was tried
    assert errors[0].endswith("it is tried again until it succeeds")


def test_configured_instrument_that_somebody_has_opened_meanwhile_is_ready(home: Path) -> None:
    device = home / "device"
    with lab({"dmm": {**METER, "args": [str(device)]}}) as context:
        context.make_configured()
        device.touch()
        context.get_instrument("lab.dmm").open()
        assert context.restart_object("dmm").state == "ready"


@pytest.mark.fault(60)
@pytest.mark.parametrize(("kind", "state"), [("Hanging", "making"), ("HangingMake", "making")])
def test_configured_instrument_that_hangs_holds_nobody_up(
    kind: str, state: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(configured, "MAKE_TURN", 0.01)
    instruments = {"slow": {"driver": f"{HERE}:{kind}"}, "good": METER}
    with lab(instruments, {"watch": {"task": f"{HERE}:Watch"}}, ready_timeout=0.2, stop_grace=0.1) as context:
        context.make_configured()
        assert wait_until(lambda: states(context) == {"slow": state, "good": "ready", "watch": "ready"})
        assert "Context lab does not wait for slow any longer, and goes on" in caplog.text
        Hanging.may_open.set()
        HangingMake.may_go.set()
        assert wait_until(lambda: states(context)["slow"] == "ready")


def test_context_that_is_to_end_waits_for_no_configured_object() -> None:
    with lab({"slow": {"driver": f"{HERE}:Hanging"}}, stop_grace=0.1) as context:
        core = context.async_context
        core.loop.soon(core.request_shutdown)
        assert [entry.state for entry in context.make_configured()] == ["making"]
        Hanging.may_open.set()


def test_configured_instrument_is_made_anew_alone(home: Path) -> None:
    with lab({"dmm": METER, "other": METER}) as context:
        context.make_configured()
        dmm, other = context.get_instrument("lab.dmm"), context.get_instrument("lab.other")
        before = other.get_id()
        dmm.lock()
        assert context.restart_object("dmm").state == "ready"
        assert not context.get_instrument("lab.dmm").is_locked()
        assert other.get_id() == before
        # Both are opened at the same time, in any order.
        assert (sorted(Meter.opened[:2]), Meter.opened[2:]) == (["dmm", "other"], ["dmm"])


@pytest.mark.parametrize("state", ["running", "failed", "ended"])
def test_configured_task_is_made_anew_in_any_state(state: str) -> None:
    watch = {"task": f"{HERE}:Watch", "kwargs": {"failures": int(state == "failed")}}
    with lab({}, {"watch": watch}) as context:
        context.make_configured()
        task = context.get_task("lab.watch")
        if state == "ended":
            task.stop()
        if state != "running":
            assert wait_until(lambda: not task.is_running())
        if state == "failed":
            assert context.list_configured()[0].reason == "RuntimeError: not yet"
        assert context.restart_object("watch").state == "ready"
        assert wait_until(lambda: Watch.runs == ["watch", "watch"])
        assert context.get_task("lab.watch").is_running()


def test_configured_instrument_that_has_failed_is_restarted(home: Path) -> None:
    device = home / "device"
    with lab({"dmm": {**METER, "args": [str(device)]}}) as context:
        assert context.make_configured()[0].state == "failed"
        assert context.restart_object("dmm").state == "failed"
        device.touch()
        assert context.restart_object("dmm").state == "ready"


def test_configured_driver_that_was_mended_is_found_by_a_restart(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(home)
    with lab({"dmm": {"driver": "mended_driver:Meter"}}) as context:
        assert context.make_configured()[0].state == "failed"
        (home / "mended_driver.py").write_text(f"from {HERE} import Meter\n")
        assert context.restart_object("dmm").state == "ready"


def test_configured_object_that_the_program_has_removed_is_shown_so_and_comes_back() -> None:
    with lab({"dmm": METER}) as context:
        context.make_configured()
        context.remove_rpc_object(context.get_instrument("lab.dmm"))
        assert states(context) == {"dmm": "removed"}
        assert context.restart_object("dmm").state == "ready"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("dm", "Did you mean 'dmm'?"), ("elsewhere", "It lists 'dmm'"), ("$context", "It lists 'dmm'")],
)
def test_restart_of_what_is_not_configured_is_refused(name: str, hint: str) -> None:
    with lab({"dmm": METER}) as context:
        context.make_configured()
        with pytest.raises(
            QMI_UnknownNameException, match=f"The configuration of context 'lab' lists no .*. {re.escape(hint)}"
        ):
            context.restart_object(name)


def test_restart_before_the_configured_objects_are_made_is_refused_here_and_waits_from_elsewhere() -> None:
    with lab({"dmm": METER}) as server, QMI_Context("client", config()) as client:
        with pytest.raises(QMI_UsageException, match=r"call make_configured\(\) first"):
            server.restart_object("dmm")
        client.connect_to_peer("lab", address(server))
        asked = client.make_peer_context_proxy("lab").rpc_nonblocking.restart_object("dmm")
        server.make_configured()
        assert ConfiguredObject(*asked.wait(10.0)).state == "ready"
        assert states(server) == {"dmm": "ready"}
        assert server.get_instrument("lab.dmm").is_open()


def test_restart_from_elsewhere_is_refused_by_a_program_that_makes_nothing() -> None:
    with (
        lab({"dmm": METER}, program_module="lab.other") as server,
        QMI_Context("client", config()) as client,
    ):
        client.connect_to_peer("lab", address(server))
        with pytest.raises(QMI_UsageException, match=r"call make_configured\(\) first"):
            client.make_peer_context_proxy("lab").restart_object("dmm")


def test_configured_objects_are_seen_and_restarted_from_another_context() -> None:
    with lab({"dmm": METER, "bad": {"driver": f"{HERE}:Broken"}}) as server, QMI_Context("client", config()) as client:
        server.make_configured()
        client.connect_to_peer("lab", address(server))
        context = client.make_peer_context_proxy("lab")
        assert [ConfiguredObject(*entry).state for entry in context.list_configured()] == ["ready", "failed"]
        assert ConfiguredObject(*context.restart_object("dmm")).state == "ready"
        assert client.list_rpc_objects("instrument") == [("lab.dmm", f"{HERE}.Meter")]
        with pytest.raises(QMI_UnknownNameException, match="'bad': it has failed: cannot be made: RuntimeError"):
            client.get_instrument("lab.bad")


def test_restart_from_another_context_needs_the_right_to_shut_down(caplog: pytest.LogCaptureFixture) -> None:
    with (
        lab({"dmm": METER}, allow_remote_shutdown=False) as server,
        QMI_Context("client", config()) as client,
    ):
        server.make_configured()
        client.connect_to_peer("lab", address(server))
        with pytest.raises(QMI_InvalidOperationException, match="does not let other contexts restart 'dmm'"):
            client.make_peer_context_proxy("lab").restart_object("dmm")
        assert Meter.opened == ["dmm"]
        assert server.restart_object("dmm").state == "ready"


def test_context_that_stops_while_objects_come_up_leaves_none_behind() -> None:
    slow = {"driver": f"{HERE}:Hanging", "reconnect": True}
    instruments = {"slow": slow, "dmm": {**METER, "args": ["/no"], "reconnect": True}}
    context = lab(instruments, ready_timeout=0.05, stop_grace=5.0)
    with context:
        context.make_configured()
        context.register_stop_handler(Hanging.may_open.set)
    assert states(context)["dmm"] != "ready"
    assert list(context.async_context.registry) == []


SUPPLY = "qmi.instruments.scpi:Scpi_PowerSupply"


@pytest.mark.parametrize(
    ("whole", "own", "simulated"),
    [({}, {"simulate": True}, True), ({"simulate": True}, {}, True), ({"simulate": True}, {"simulate": False}, False)],
)
def test_configured_instrument_is_simulated_as_it_or_its_context_says(
    whole: dict[str, Any], own: dict[str, Any], simulated: bool
) -> None:
    with lab({"psu": {"driver": SUPPLY, **own}}, **whole) as context:
        [psu] = context.make_configured()
        if simulated:
            assert psu.state == "ready"
            assert context.get_instrument("lab.psu").is_simulated()
        else:
            assert psu.reason.endswith("does not take these arguments: missing a required argument: 'transport'")


def test_configured_instrument_that_cannot_be_simulated_is_a_fault_of_the_file() -> None:
    with lab({"dmm": {**METER, "simulate": True}}) as context:
        [dmm] = context.make_configured()
    assert dmm.reason.startswith("contexts.lab.instruments.dmm: Meter cannot be simulated: it declares no parameters")


def test_configured_instrument_with_a_driver_of_another_library_is_opened_set_safe_and_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    psu = {"driver": "hosted:tests.support.hosted:Psu", "args": ["COM2"], "safe": {"voltage": 0.5}}
    broken = {"driver": "hosted:tests.support.hosted:Connected", "kwargs": {"fail": True}}
    named = {"driver": "hosted:tests.support.hosted:Named", "kwargs": {"name": "front", "context": 3}}
    with lab({"psu": psu, "broken": broken, "named": named}) as context:
        found = by_name(context.make_configured())
        assert context.get_instrument("lab.named").given() == {"name": "front", "context": 3}
        assert (found["psu"].state, found["broken"].state) == ("ready", "failed")
        assert found["broken"].reason == "cannot be made: OSError: there is no device"
        proxy = context.get_instrument("lab.psu")
        assert (proxy.is_open(), proxy.address_, proxy.connected()) == (True, "COM2", 1)
        proxy.voltage = 20.0
        own = Psu.made[-1]
    assert (own.voltage, own.connections) == (0.5, 0)
    assert "is still open" not in caplog.text


@pytest.mark.parametrize(("safe", "hint"), [({"voltag": 0.0}, "Did you mean 'voltage'"), ({"voltage": "much"}, "much")])
def test_configured_hosted_instrument_whose_safe_state_cannot_be_kept_is_not_there(
    safe: dict[str, Any], hint: str
) -> None:
    psu = {"driver": "hosted:tests.support.hosted:Psu", "safe": safe, "reconnect": True}
    with lab({"psu": psu}) as context:
        [found] = context.make_configured()
        assert (found.state, found.retry_in) == ("failed", -1.0)
        assert found.reason.startswith("contexts.lab.instruments.psu: ")
        assert hint in found.reason
        with pytest.raises(QMI_UnknownNameException):
            context.get_instrument("lab.psu")


def test_configured_hosted_instrument_has_the_safe_state_of_its_driver_before_it_is_opened() -> None:
    heater = {"driver": "hosted:tests.support.hosted:Heater", "safe_when": {"lock_lost": True}, "open": False}
    with lab({"heater": heater}) as context:
        [found] = context.make_configured()
        assert found.state == "ready"
        assert Heater.made[-1].power == 5.0
    assert Heater.made[-1].power == 0.0


def test_configured_entry_that_cannot_be_looked_at_stops_no_other() -> None:
    odd = {"driver": "hosted:tests.support.hosted:Lazy", "args": [1]}
    inner = {"driver": "tests.support.hosted:Psu.made.x"}
    with lab({"odd": odd, "inner": inner, "meter": METER}) as context:
        found = by_name(context.make_configured())
    assert found["meter"].state == "ready"
    assert found["inner"].reason.startswith("contexts.lab.instruments.inner.driver: there is no class 'x'")
    assert found["odd"].state == "failed"
