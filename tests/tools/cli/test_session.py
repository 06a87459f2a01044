from __future__ import annotations

import json
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.errors import QMI_Exception, QMI_UnknownNameException, QMI_UnknownRpcException, QMI_UsageException
from qmi.names import parse_member
from qmi.tools.cli.errors import CommandError
from qmi.tools.cli.options import COMMON
from qmi.tools.cli.session import laboratory, parse_object
from tests.support.cli import serving, write_lab
from tests.support.ports import free_port


class Counter(QMI_RpcObject):
    """Counts its calls."""

    def __init__(self, context: QMI_Context, name: str) -> None:
        super().__init__(context, name)
        self.calls = 0

    @rpc_method
    def count(self) -> int:
        """Count one more."""
        self.calls += 1
        return self.calls


def given(config: Path, **options: Any) -> Namespace:
    return Namespace(**{**COMMON, "config": str(config), **options})


def test_context_is_found_and_asked_without_a_context_of_its_own(lab: QMI_Context, config: Path) -> None:
    with laboratory(given(config)) as here:
        assert here.call_context("lab", "get_pid") == os.getpid()
        assert here._context is None
        with pytest.raises(QMI_UnknownRpcException):
            here.call_context("lab", "no_such_method")


def test_proxy_is_used_through_a_context_that_listens_nowhere(lab: QMI_Context, config: Path) -> None:
    lab.make_rpc_object("counter", Counter)
    with laboratory(given(config)) as here:
        assert here.proxy("lab.counter").count() == 1
        assert here.context.get_tcp_server_port() == 0
        assert here.context.name.startswith("qmi_cli_")
        with pytest.raises(QMI_UnknownNameException):
            here.proxy("lab.nothing")
        own = here.context
    assert not own.is_running


def test_name_of_this_program_can_be_given(lab: QMI_Context, config: Path) -> None:
    with laboratory(given(config, as_name="alice")) as here:
        assert here.connect("lab").name == "alice"
    with pytest.raises(QMI_UsageException, match="--as takes the name of a context, got 'a b'"):
        laboratory(given(config, as_name="a b")).__enter__()


def test_a_configured_name_does_not_make_it_listen(tmp_path: Path) -> None:
    port = free_port()
    config = write_lab(tmp_path, lab={"tcp_server_port": 0}, panel={"tcp_server_port": port})
    with serving(config), laboratory(given(config, as_name="panel")) as here:
        assert here.connect("lab").get_tcp_server_port() == 0


def test_context_that_is_not_there_is_named_with_those_that_are(lab: QMI_Context, config: Path) -> None:
    text = r"context 'lap' of workgroup 'cli' was not found; running are lab\. Did you mean 'lab'\?"
    with laboratory(given(config)) as here:
        with pytest.raises(CommandError, match=text):
            here.call_context("lap", "get_pid")
        with pytest.raises(CommandError, match=text):
            here.proxy("lap.x")


def test_context_that_is_too_busy_to_answer_by_name_is_found_among_all(
    lab: QMI_Context, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with laboratory(given(config)) as here:
        discover = here.discover
        monkeypatch.setattr(here, "discover", lambda pattern="*": discover() if pattern == "*" else [])
        assert here.call_context("lab", "get_pid") == os.getpid()


def test_context_of_another_workgroup_is_not_found(lab: QMI_Context, config: Path) -> None:
    with laboratory(given(config, workgroup="other")) as here, pytest.raises(CommandError, match="no context answers"):
        here.call_context("lab", "get_pid")


def test_configured_context_that_does_not_run_is_told_so(tmp_path: Path) -> None:
    port = free_port()
    config = write_lab(tmp_path, lab={"tcp_server_port": 0}, bench={"host": "127.0.0.1", "tcp_server_port": port})
    text = (
        f"context 'bench' of workgroup 'cli' does not run at 127.0.0.1:{port}: nothing listens there; running are lab"
    )
    with serving(config), laboratory(given(config)) as here:
        with pytest.raises(CommandError, match=text):
            here.call_context("bench", "get_pid")
        with pytest.raises(CommandError, match=text):
            here.proxy("bench.x")


def test_unusable_configuration_is_refused(config: Path) -> None:
    config.write_text(json.dumps({"contexts": 7}))
    with pytest.raises(QMI_Exception, match="contexts"):
        laboratory(given(config)).__enter__()


@pytest.mark.parametrize("text", ["", "lab", "lab.", ".psu", "lab.psu.voltage", "lab.p su"])
def test_address_of_an_object_has_two_names(text: str) -> None:
    with pytest.raises(QMI_UsageException, match=r"an object is written CONTEXT\.OBJECT"):
        parse_object(text)


@pytest.mark.parametrize("text", ["", "lab", "lab.psu", "lab.psu.", "lab..x"])
def test_path_of_a_member_has_three_names(text: str) -> None:
    with pytest.raises(QMI_UsageException, match=r"it is written CONTEXT\.OBJECT\.NAME"):
        parse_member(text)


def test_addresses_are_split_at_their_dots() -> None:
    assert str(parse_object("lab.psu")) == "lab.psu"
    assert parse_member("lab.psu.channels[1].voltage") == (parse_object("lab.psu"), "channels[1].voltage")
