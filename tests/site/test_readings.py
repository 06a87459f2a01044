"""Readings of parameters at a site: they are signals, so that they come by it, and late joiners get the last one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import qmi
import qmi.data
from qmi.config.loader import load_config
from qmi.core.context import QMI_Context
from tests.support.cli import Cli, serving, write_lab
from tests.support.nats_server import NatsServer
from tests.support.shell_driver import ShellSupply
from tests.support.site_signals import make_stream
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A laboratory with a site; of its contexts, lab listens."""
    folder = tmp_path_factory.mktemp("lab")
    with NatsServer(folder) as server:
        trio.run(make_stream, server.port, "cli")
        path = write_lab(folder, lab={"host": "127.0.0.1", "tcp_server_port": 0}, desk={})
        content = json.loads(path.read_text())
        content["site"] = {"servers": [f"nats://127.0.0.1:{server.port}"]}
        path.write_text(json.dumps(content))
        yield path


@pytest.fixture(scope="module")
def lab(config: Path) -> Iterator[QMI_Context]:
    with serving(config) as context:
        context.make_instrument("psu", ShellSupply).open()
        yield context


@pytest.fixture
def cli(config: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(config, capsys)


def by_links(lab: QMI_Context) -> int:
    """How many subscriptions of other contexts to signals of the laboratory go by links."""
    return sum(peers for *_, peers in lab.async_context.broker.counts())


def test_monitor_shows_the_last_signal_at_once(cli: Cli, lab: QMI_Context) -> None:
    psu = lab.get_instrument("lab.psu")
    psu.tell("before", 6)
    psu.tell("hello", 7)
    done = cli("monitor", "lab.psu.sig_told", "-n", "1", "--json")
    assert [json.loads(line)["args"] for line in done.out.splitlines()] == [["hello", 7]]
    assert (done.code, done.err) == (0, "")


def test_monitor_shows_a_setting_and_a_polled_parameter(cli: Cli, lab: QMI_Context) -> None:
    lab.get_instrument("lab.psu").voltage = 4.5
    done = cli("monitor", "lab.psu.pressure", "lab.psu.voltage", "-n", "4", "--json")
    told = {(item["name"], item["value"]) for item in map(json.loads, done.out.splitlines())}
    assert told >= {("lab.psu.voltage", 4.5)}
    assert by_links(lab) == 0


def test_monitor_goes_on_by_the_link_where_the_publisher_is_not_at_the_site(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    content = json.loads(config.read_text())
    del content["site"]
    content["contexts"] = {"far": {"host": "127.0.0.1", "tcp_server_port": 0}}
    path = tmp_path / "far.conf"
    path.write_text(json.dumps(content))
    with QMI_Context("far", load_config(str(path))) as far:
        far.make_instrument("psu", ShellSupply).open()
        done = Cli(config, capsys)("monitor", "far.psu.pressure", "-n", "2", "--json")
    assert [json.loads(line)["value"] for line in done.out.splitlines()] == [7.5, 7.5]


def test_recording_takes_readings_by_the_site(lab: QMI_Context, config: Path, tmp_path: Path) -> None:
    psu = lab.get_instrument("lab.psu")
    with (
        qmi.start("desk", str(config), init_logging=False),
        qmi.data.record("night", "lab.psu.pressure", "lab.psu.voltage", folder=tmp_path) as recording,
    ):
        psu.voltage = 2.5
        wait_until(lambda: recording.rows >= 3 and all(source.rows for source in recording.sources))
        assert by_links(lab) == 0
    assert recording.info is not None
    data = qmi.data.load(recording.info)
    assert set(data["psu_pressure"].dropna("row").values) == {7.5}
    assert list(data["psu_voltage"].dropna("row").values) == [2.5]
    assert json.loads(data.attrs["gaps"]) == []
