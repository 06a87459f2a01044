"""What scripts, drivers and their tests that were written before this library rely on, beyond the tutorial."""

from __future__ import annotations

import inspect
import io
import json
import logging
import os
import pty
import sys
import threading
from dataclasses import field
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import pytest

import qmi
import qmi.core.context_singleton
from qmi.core.config import dump_config_file, dump_config_string, load_config_file, load_config_string
from qmi.core.config_defs import CfgContext, CfgLogging, CfgQmi
from qmi.core.config_struct import config_struct_from_dict, config_struct_to_dict, configstruct
from qmi.core.context import QMI_Context, ping_qmi_contexts
from qmi.core.exceptions import (
    QMI_ConfigurationException,
    QMI_MissingConfigurationException,
    QMI_UsageException,
    QMI_WrongThreadException,
)
from qmi.core.logging_init import start_logging, stop_logging
from qmi.core.messaging import _PeerTcpConnection
from qmi.core.pubsub import QMI_SignalReceiver, SignalReceiverDiscardPolicy
from qmi.core.read_keyboard import KeyboardReader
from qmi.core.task import QMI_LoopTask, QMI_TaskRunner
from qmi.core.thread import QMI_Thread, check_in_main_thread
from qmi.core.util import AtomicCounter, format_address_and_port, is_valid_object_name, parse_address_and_port
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from tests.support.lab import make_context, two_contexts

PARAMETERS = {
    qmi.start: ["context_name", "config_file", "init_logging", "console_loglevel", "context_cfg"],
    qmi.make_rpc_object: ["rpc_object_name", "rpc_object_class", "args", "kwargs"],
    qmi.make_instrument: ["instrument_name", "instrument_class", "args", "kwargs"],
    qmi.make_task: ["task_name", "task_class", "args", "task_runner"],
    qmi.get_rpc_object: ["rpc_object_name", "auto_connect", "host_port"],
    qmi.get_instrument: ["instrument_name", "auto_connect", "host_port"],
    qmi.get_task: ["task_name", "auto_connect", "host_port"],
    QMI_Context: ["name", "config"],
    QMI_Context.make_rpc_object: ["self", "rpc_object_name", "rpc_object_class", "args", "kwargs"],
    QMI_Context.make_instrument: ["self", "instrument_name", "instrument_class", "args", "kwargs"],
    QMI_Context.make_task: ["self", "task_name", "task_class", "args", "task_runner"],
    QMI_Context.get_rpc_object_by_name: ["self", "rpc_object_name", "auto_connect", "host_port"],
    QMI_Context.get_instrument: ["self", "instrument_name", "auto_connect", "host_port"],
    QMI_Context.get_task: ["self", "task_name", "auto_connect", "host_port"],
    QMI_Context.get_rpc_object_descriptor: ["self", "rpc_object_name"],
    QMI_Context.connect_to_peer: ["self", "peer_context_name", "peer_address", "ignore_duplicate"],
    QMI_Context.disconnect_from_peer: ["self", "peer_context_name"],
    QMI_Context.has_peer_context: ["self", "peer_context_name"],
    QMI_Context.discover_peer_contexts: ["self", "workgroup_name_filter", "context_name_filter"],
    QMI_Context.list_rpc_objects: ["self", "category"],
    QMI_Context.show_rpc_objects: ["self", "category"],
    QMI_Context.make_peer_context_proxy: ["self", "context_name"],
    QMI_Context.make_proxy: ["self", "rpc_object_descriptor"],
    QMI_Context.make_unique_address: ["self", "prefix"],
    QMI_Context.make_unique_token: ["self", "prefix"],
    QMI_Context.publish_signal: ["self", "publisher_name", "signal_name", "args"],
    QMI_Context.subscribe_signal: ["self", "publisher_context", "publisher_name", "signal_name", "receiver"],
    QMI_Context.unsubscribe_signal: ["self", "publisher_context", "publisher_name", "signal_name", "receiver"],
    QMI_Context.register_stop_handler: ["self", "handler"],
    QMI_Context.remove_rpc_object: ["self", "proxy"],
    QMI_Context.resolve_file_name: ["self", "file_name"],
    QMI_Context.wait_until_shutdown: ["self", "duration"],
    QMI_TaskRunner: ["context", "name", "task_class", "task_args", "task_kwargs"],
    QMI_TaskRunner.set_settings: ["self", "new_settings"],
    QMI_LoopTask: ["task_runner", "name", "loop_period", "policy"],
    QMI_SignalReceiver: ["max_queue_length", "discard_policy"],
    QMI_SignalReceiver.get_next_signal: ["self", "timeout"],
    start_logging: [
        "loglevel", "console_loglevel", "logfile", "loglevels", "rate_limit", "burst_limit", "max_bytes",
        "backup_count",
    ],
    ping_qmi_contexts: ["workgroup_name_filter", "context_name_filter", "timeout"],
}  # fmt: skip


@pytest.mark.parametrize("function", PARAMETERS, ids=lambda function: function.__qualname__)
def test_parameters_have_the_names_that_scripts_use(function: Any) -> None:
    expected = PARAMETERS[function]
    assert list(inspect.signature(function).parameters)[: len(expected)] == expected


def test_names_by_keyword() -> None:
    with qmi.start(context_name="old", config_file=None, init_logging=False) as context:
        made = qmi.make_instrument(instrument_name="nsg", instrument_class=NoisySineGenerator)
        assert qmi.get_instrument(instrument_name="old.nsg").address == made.address
        assert qmi.get_rpc_object(rpc_object_name="nsg").address == made.address
        assert qmi.list_rpc_objects(rpc_object_baseclass=qmi.core.instrument.QMI_Instrument) == [
            ("old.nsg", "qmi.instruments.dummy.noisy_sine_generator.NoisySineGenerator")
        ]
        assert qmi.list_rpc_objects("task") == []
        assert context.resolve_file_name("$context/${context}") == "old/old"
        (descriptor,) = context.get_rpc_object_descriptors()
        assert (descriptor.category, descriptor.interface.rpc_class_name) == ("instrument", "NoisySineGenerator")
        assert descriptor.interface.rpc_class_module == "qmi.instruments.dummy.noisy_sine_generator"
        assert context.make_proxy(descriptor).get_frequency() == 2.0
        full = context.get_rpc_object_descriptor("nsg")
        assert full is not None
        assert "get_sample" in full.interface.methods
        assert context.get_rpc_object_descriptor("nothing") is None


@pytest.mark.parametrize("level", ["WARN", "WARNING", "FATAL", "NOTSET", "DEBUG"])
def test_log_levels_have_the_names_that_logging_knows(level: str) -> None:
    with qmi.start("old", None, console_loglevel=level) as context:
        assert context.get_config().logging.console_loglevel == level
    for kind in (QMI_UsageException, QMI_ConfigurationException):
        with pytest.raises(kind, match="Unknown log level 'SILENT'"):
            qmi.start("old", None, console_loglevel="SILENT")


def test_policies_are_attributes_of_the_receiver() -> None:
    assert QMI_SignalReceiver.DISCARD_OLD is SignalReceiverDiscardPolicy.DISCARD_OLD
    receiver = QMI_SignalReceiver(1, QMI_SignalReceiver.DISCARD_NEW)
    assert receiver.DISCARD_NEW is SignalReceiverDiscardPolicy.DISCARD_NEW


# qmi.core.context_singleton


def default() -> Any:
    return qmi.core.context_singleton._qmi_context


def test_default_context_can_be_put_there_for_a_while() -> None:
    with patch("qmi.core.context_singleton._qmi_context", QMI_Context("patched")) as patched:
        patched.start()
        qmi.core.context_singleton._connect_to_peers()
        assert qmi.context() is patched
        assert default() is patched
        assert qmi.make_instrument("nsg", NoisySineGenerator).address == "patched.nsg"
        qmi.stop()
    assert default() is None
    with patch("qmi.core.context_singleton._qmi_context", Mock(name="context")) as mock:
        qmi.make_instrument("nsg", NoisySineGenerator)
        mock.make_instrument.assert_called_once_with("nsg", NoisySineGenerator)


def test_default_context_is_put_back_after_the_while() -> None:
    with qmi.start("real", None, init_logging=False) as real:
        with patch("qmi.core.context_singleton._qmi_context", Mock()):
            assert qmi.context() is not real
        assert qmi.context() is real
    assert default() is None


def test_peers_are_connected_on_demand() -> None:
    with make_context("server") as server:
        port = server.get_tcp_server_port()
        config = CfgQmi(contexts={"server": CfgContext(host="127.0.0.1", tcp_server_port=port)})
        config.contexts["client"] = CfgContext(connect_to_peers=["server"])
        with patch("qmi.core.context_singleton._qmi_context", QMI_Context("client", config)) as client:
            client.start()
            qmi.core.context_singleton._connect_to_peers()
            assert client.has_peer_context("server")
            qmi.stop()


def test_configuration_is_read_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "qmi.conf"
    path.write_text('{"workgroup": "w"}')
    assert qmi.core.context_singleton.create_config_from_file(str(path)).workgroup == "w"


# qmi.core.config and config_struct


def test_configuration_texts_are_loaded_and_dumped(tmp_path: Path) -> None:
    values = {"a": 1, "b": ["#", {"c": None}]}
    assert load_config_string('{"a": 1, # one\n "b": ["#", {"c": null}]}') == values
    assert load_config_string(dump_config_string(values)) == values
    dump_config_file(values, tmp_path / "file")
    assert load_config_file(tmp_path / "file") == values
    assert json.loads((tmp_path / "file").read_text()) == values


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": False}', "{", '{"a": 1}}'])
def test_configuration_text_that_cannot_be_read_is_an_error_of_json_too(tmp_path: Path, text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as raised:
        load_config_string(text)
    assert isinstance(raised.value, QMI_ConfigurationException)
    assert raised.value.lineno >= 1
    (tmp_path / "file").write_text(text)
    with pytest.raises(json.JSONDecodeError, match="file has a fault"):
        load_config_file(str(tmp_path / "file"))


def test_configuration_is_an_object(tmp_path: Path) -> None:
    with pytest.raises(QMI_ConfigurationException, match=r"is an object \{\.\.\.\}; got list") as raised:
        load_config_string("[1]")
    assert not isinstance(raised.value, ValueError)
    with pytest.raises(FileNotFoundError) as missing:
        load_config_file(tmp_path / "missing")
    assert isinstance(missing.value, QMI_MissingConfigurationException)


@configstruct
class Sub:
    x: int
    y: float = 1.0


@configstruct
class Whole:
    name: str = "none"
    sub: Sub
    subs: list[Sub] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)
    pair: tuple[int, str] | None = None
    rest: tuple[int, ...] = ()
    anything: Any = None


def test_struct_is_made_of_plain_values_and_back() -> None:
    data = {"sub": {"x": 1, "y": 2}, "subs": [{"x": 3}], "table": {"a": 1}, "pair": [1, "b"], "rest": [1, 2, 3]}
    whole = config_struct_from_dict(data, Whole)
    assert whole == Whole(
        sub=Sub(x=1, y=2.0), subs=[Sub(x=3)], table={"a": 1}, pair=(1, "b"), rest=(1, 2, 3)
    )  # fmt: skip
    plain = config_struct_to_dict(whole)
    assert plain["sub"] == {"x": 1, "y": 2.0}
    assert config_struct_from_dict(plain, Whole) == whole


STRUCT_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({}, "Missing value for configuration item sub"),
    ({"sub": {}}, r"Missing value for configuration item sub\.x"),
    ({"sub": {"x": 1, "z": 1}}, r"Unknown configuration item sub\.z; known are x, y"),
    (
        {"sub": {"x": "1"}},
        r"in configuration item sub\.x: got <class 'str'> while expecting <class 'int'>",
    ),
    ({"sub": {"x": True}}, "got <class 'bool'> while expecting <class 'int'>"),
    ({"sub": 1}, "Type mismatch in configuration item sub"),
    ({"sub": {"x": 1}, "subs": {"a": 1}}, "item subs: got <class 'dict'>"),
    ({"sub": {"x": 1}, "subs": [{"x": 1}, {"x": None}]}, r"item subs\[1\]\.x"),
    ({"sub": {"x": 1}, "table": {1: 1}}, "Unsupported non-string dictionary key 1 in configuration item table"),
    ({"sub": {"x": 1}, "pair": [1]}, "item pair has 1 values; expected 2"),
    ({"sub": {"x": 1}, "pair": "ab"}, "item pair: got <class 'str'>"),
]


@pytest.mark.parametrize(("data", "text"), STRUCT_FAULTS)
def test_struct_faults_say_where_they_stand(data: dict[str, Any], text: str) -> None:
    with pytest.raises(QMI_ConfigurationException, match=text):
        config_struct_from_dict(data, Whole)


def test_struct_is_checked_when_it_is_made() -> None:
    with pytest.raises(QMI_ConfigurationException, match="item x"):
        Sub(x="1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Sub\.__init__\(\) missing required argument 'x'"):
        Sub()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        Sub(x=1, z=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="must be a dataclass"):
        config_struct_from_dict({}, int)
    with pytest.raises(TypeError, match="must be a dataclass instance"):
        config_struct_to_dict(5)


def test_own_sections_pass_through() -> None:
    section = config_struct_from_dict({"host": "localhost", "tcp_server_port": 5}, CfgContext)
    assert section == CfgContext(host="localhost", tcp_server_port=5)
    assert config_struct_to_dict(section)["tcp_server_port"] == 5
    config = config_struct_from_dict({"contexts": {"a": {"enabled": True}}}, CfgQmi)
    assert config.contexts["a"].enabled
    assert config_struct_from_dict(config_struct_to_dict(config), CfgQmi) == config
    with pytest.raises(QMI_ConfigurationException, match="tcp_server_port"):
        config_struct_from_dict({"tcp_server_port": "x"}, CfgContext)
    assert config_struct_to_dict(CfgLogging())["loglevel"] == "INFO"


# qmi.core.util, thread, logging_init, read_keyboard, messaging


def test_small_helpers() -> None:
    assert parse_address_and_port("[::1]:80") == ("::1", 80)
    assert format_address_and_port(("::1", 80)) == "[::1]:80"
    with pytest.raises(ValueError, match="expected 'host:port'"):
        parse_address_and_port("localhost")
    assert is_valid_object_name("a(1)")
    assert not is_valid_object_name("a b")
    counter = AtomicCounter(5)
    counter.inc()
    counter.inc()
    counter.dec()
    assert counter.value() == 6
    assert _PeerTcpConnection.MAX_MESSAGE_SIZE >= 10_000_000


def test_thread_is_asked_to_end() -> None:
    woken = threading.Event()

    class Worker(QMI_Thread):
        def run(self) -> None:
            assert woken.wait(10)

        def _request_shutdown(self) -> None:
            woken.set()

    worker = Worker()
    worker.start()
    assert vars(worker)["_shutdown_requested"] is False
    worker.shutdown()
    worker.join(10)
    assert vars(worker)["_shutdown_requested"] is True
    assert not worker.is_alive()
    with pytest.raises(NotImplementedError, match=r"QMI_Thread has no run\(\)"):
        QMI_Thread().run()


def test_main_thread_is_told_from_others() -> None:
    check_in_main_thread()
    caught: list[BaseException] = []

    def elsewhere() -> None:
        try:
            check_in_main_thread()
        except QMI_WrongThreadException as error:
            caught.append(error)

    thread = threading.Thread(target=elsewhere, name="other")
    thread.start()
    thread.join(10)
    assert "it was called in 'other'" in str(caught[0])


def test_logging_without_a_context(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a $dir" / "100%.log"
    try:
        start_logging(loglevel=logging.DEBUG, console_loglevel="ERROR", logfile=str(path), loglevels={"quiet": 40})
        logging.getLogger("mine").debug("into the file")
        logging.getLogger("mine").error("onto the console")
        logging.getLogger("quiet").info("nowhere")
    finally:
        stop_logging()
    text = path.read_text()
    assert "into the file" in text
    assert "nowhere" not in text
    assert "onto the console" in capsys.readouterr().err


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    master, slave = pty.openpty()
    with os.fdopen(slave) as stdin, os.fdopen(master, "wb", buffering=0) as keyboard:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield keyboard


def test_keyboard_is_read_without_waiting(terminal: Any) -> None:
    reader = KeyboardReader()
    assert reader.poll_line() == ""
    terminal.write(b"one\ntwo\n")
    assert [poll(reader), poll(reader), reader.poll_line()] == ["one\n", "two\n", ""]
    terminal.write(b"no\n q \n")
    while not reader.poll_quit():
        pass
    assert not reader.poll_quit()


def poll(reader: KeyboardReader) -> str:
    while not (line := reader.poll_line()):
        pass
    return line


def test_keyboard_may_be_a_pipe_a_text_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    receiving, sending = os.pipe()
    with os.fdopen(receiving) as stdin, os.fdopen(sending, "wb", buffering=0) as writer:
        monkeypatch.setattr(sys, "stdin", stdin)
        reader = KeyboardReader()
        writer.write(b"a\nlast")
        assert poll(reader) == "a\n"
        assert reader.poll_line() == ""
        writer.close()
        assert poll(reader) == "last"
        assert reader.poll_line() == ""
    monkeypatch.setattr(sys, "stdin", io.StringIO("q\n"))
    reader = KeyboardReader()
    assert poll(reader) == "q\n"
    monkeypatch.setattr(sys, "stdin", None)
    reader = KeyboardReader()
    reader.clear_buffer()
    assert reader.poll_line() == ""


def test_contexts_are_pinged_without_having_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.lab import DISCOVERY_PORT, LOOPBACK_BROADCAST

    monkeypatch.setattr(
        "qmi.peers.resolver.CfgDiscovery",
        lambda timeout: qmi.core.config_defs.CfgDiscovery(
            port=DISCOVERY_PORT, broadcast_addresses=[LOOPBACK_BROADCAST], timeout=timeout
        ),
    )
    with two_contexts() as (server, _):
        (found,) = ping_qmi_contexts("default", "serv*", timeout=0.5)
        assert found.incoming_address[1] == server.get_tcp_server_port()
        context = found.response_packet.context
        assert (context.name, context.workgroup_name, context.pid) == (b"server", b"default", os.getpid())
        assert ping_qmi_contexts("other", timeout=0.1) == []
