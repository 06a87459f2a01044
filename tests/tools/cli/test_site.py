"""``qmi site``."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from qmi.actors.future import call_blocking
from qmi.config.loader import load_config
from qmi.proc.site_server import SiteServer, servers_here
from qmi.site.presence import Announcement, Present
from qmi.site.server_config import SERVER_NAME
from tests.support.cli import Cli, serving
from tests.support.ports import free_port
from tests.support.programs import Program
from tests.support.site_lab import kill, make_certificates, site, write_site


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with a site of one server, which does not run."""
    return write_site(tmp_path)


def address(config: Path) -> str:
    return str(load_config(config).site.addresses[0])


@pytest.mark.parametrize("action", ["start", "stop", "status", "who", "run", "systemd"])
def test_configuration_without_a_site_is_told_what_to_write(action: str, cli: Cli) -> None:
    cli.config.write_text("{}")
    found = cli("site", action)
    assert found.code == 2
    assert f'qmi: {cli.config} has no servers of a site: write "site": {{"servers": ["nats://' in found.err


@pytest.mark.parametrize("action", ["start", "stop", "run", "systemd"])
def test_server_of_another_computer_is_told_where_it_belongs(action: str, cli: Cli, tmp_path: Path) -> None:
    write_site(tmp_path, site={"servers": ["nats://192.0.2.1"]})
    found = cli("site", action)
    assert found.code == 2
    assert "no server of the site is this computer" in found.err
    assert "'site.servers' has 192.0.2.1:4222" in found.err


def test_action_that_is_missing_is_told(cli: Cli) -> None:
    found = cli("site")
    assert (found.code, found.out) == (2, "")
    assert "needs a command: start, stop, status, who, run, systemd; see" in found.err


def test_status_of_a_server_that_is_not_there_is_a_failure(cli: Cli, config: Path) -> None:
    found = cli("site", "status")
    assert found.code == 1
    assert f"{address(config)}  not reached" in found.out
    assert "'qmi site start' starts it, on its computer" in found.err
    (row,) = cli("site", "status", "--json").json
    assert (row["server"], row["state"], row["contexts"]) == (address(config), "not reached", 0)


@pytest.mark.parametrize("command", ["start", "run"])
def test_fault_23_site_server_whose_port_is_taken_has_exit_code_2(command: str, cli: Cli, config: Path) -> None:
    (where,) = load_config(config).site.addresses
    with socket.create_server(where):
        found = cli("site", command)
    assert found.code == 2
    assert f"qmi: {where} cannot be listened at: it is in use" in found.err


def test_start_with_the_certificate_of_a_context_is_refused(cli: Cli, tmp_path: Path) -> None:
    make_certificates(tmp_path, "srv")
    write_site(tmp_path, security={"ca": "ca.pem", "certificate": "srv.pem", "key": "srv.key"})
    found = cli("site", "start")
    assert found.code == 2
    assert "make it with 'qmi certs cert qmi_site --workgroup lab1'" in found.err


def test_stop_of_what_does_not_run_is_no_failure(cli: Cli, config: Path) -> None:
    found = cli("site", "stop")
    assert found.code == 0
    assert found.out == f"{address(config)} was not started here, or has ended\n"


def test_only_one_server_runs_in_the_foreground(cli: Cli, tmp_path: Path) -> None:
    write_site(tmp_path, servers=3)
    found = cli("site", "run")
    assert found.code == 1
    assert "3 servers are those of this computer" in found.err


def test_unit_runs_the_server_in_the_foreground(cli: Cli, config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "units %h"
    found = cli("site", "systemd", "--output", str(folder))
    assert found.code == 0, found.err
    (unit,) = folder.iterdir()
    assert unit.name == f"qmi-site-{load_config(config).site.addresses[0].port}.service"
    text = unit.read_text()
    assert f'"-m" "qmi" "site" "run" "{address(config)}" "--config" "{config}"' in text
    assert "Restart=on-failure" in text
    assert f"enable --now {unit.name}" in found.out


def test_unit_needs_a_configuration_file(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.config.loader.find_config_file", lambda name="": None)
    found = cli("site", "systemd")
    assert found.code == 2


def seen_at_the_site(monkeypatch: pytest.MonkeyPatch, *present: Present) -> None:
    monkeypatch.setattr("qmi.proc.site_status.who_is_there", lambda config, pattern="*", *, timeout: list(present))


def announced(name: str, *hosts: str) -> Present:
    said = Announcement(name, "a" * 16, 1.5e9, hosts, 40001, "another", 4711, "1.0", (("psu", "lab.Psu"),))
    return Present(name, "a" * 16, 1.5e9, said)


def test_context_out_of_reach_is_shown_as_such(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    seen_at_the_site(monkeypatch, announced("far", "127.0.0.1"), Present("notebook", "b" * 16, 1.5e9))
    found = cli("ls")
    assert found.code == 0, found.err
    assert re.search(r"^far +out of reach", found.out, re.MULTILINE)
    assert "notebook" not in found.out


def test_site_that_cannot_be_asked_is_told_beside_what_was_found(cli: Cli) -> None:
    found = cli("ls")
    assert found.code == 0
    assert re.search(r"^srv +no", found.out, re.MULTILINE)
    assert "The server of the site at" in found.err


def test_who_is_there_is_shown_with_objects(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    seen_at_the_site(monkeypatch, announced("far", "192.0.2.7"), Present("notebook", "b" * 16, 1.5e9))
    found = cli("site", "who")
    assert re.search(r"^far .*192.0.2.7:40001 +1.0 +psu$", found.out, re.MULTILINE)
    first, second = cli("site", "who", "--json").json
    assert (first["since"], first["objects"]) == ("2017-07-14T02:40:00+00:00", [{"name": "psu", "class": "lab.Psu"}])
    assert (second["context"], second["address"], second["objects"]) == ("notebook", None, [])


def test_context_at_the_site_is_listed(cli: Cli, config: Path, tmp_path: Path) -> None:
    silent = {"enabled": False, "port": free_port(), "broadcast_addresses": [], "timeout": 0.05}
    write_site(tmp_path, discovery=silent)
    with site(config), serving(config, "srv") as context:
        membership = context.async_context.at_site.membership
        assert membership is not None
        assert call_blocking(context.async_context.run(membership.attendance._announce), 20.0)
        assert re.search(r"^srv +running", cli("ls").out, re.MULTILINE)
        assert cli("ls", "srv").code == 0
        assert [row["context"] for row in cli("site", "who", "--json").json] == ["srv"]


def test_servers_are_started_looked_at_and_stopped(cli: Cli, config: Path) -> None:
    server = SiteServer(load_config(config), servers_here(load_config(config))[0])
    try:
        found = cli("site", "start", "--json")
        assert found.code == 0, found.err
        (row,) = found.json["servers"]
        assert (row["new"], found.json["ready"]) == (True, True)
        assert "runs already" in cli("site", "start").out
        status = cli("site", "status")
        assert status.code == 0
        assert "running" in status.out
        assert cli("site", "stop").out == f"{server.address} has stopped\n"
        assert cli("site", "status").code == 1
    finally:
        kill(server)


def test_changed_history_holds_while_the_server_runs(cli: Cli, config: Path, tmp_path: Path) -> None:
    (where,) = load_config(config).site.addresses
    server = SiteServer(load_config(config), where)
    servers = [f"nats://{where}"]
    try:
        assert cli("site", "start").code == 0
        for size in (10**6, 4 * 2**30):
            write_site(tmp_path, site={"servers": servers, "history": {"per_signal": 5, "bytes": size}})
            found = cli("site", "start")
            assert found.code == 0, found.err
            with server.talk() as talk:
                kept = talk.ask_plain("$JS.API.STREAM.INFO.qmi-lab1-signals")["config"]
            assert (kept["max_msgs_per_subject"], kept["max_bytes"]) == (5, size)
    finally:
        kill(server)


FAR = """
import qmi.site.attendance
from qmi.actors.future import call_blocking
from qmi.config.loader import completed, load_config
from qmi.core.context import QMI_Context
from tests.support.devices import Bench
qmi.site.attendance.machine = lambda: "another"
c = QMI_Context("far", completed(load_config({path!r}), "far"))
c.start()
bench = c.make_instrument("bench", Bench)
announce = c.async_context.at_site.membership.attendance._announce
assert call_blocking(c.async_context.run(announce), 20.0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True])
def test_context_out_of_reach_is_asked_and_used_through_the_site(cli: Cli, tmp_path: Path, tls: bool) -> None:
    if tls:
        make_certificates(tmp_path, SERVER_NAME, "far", "qmi_proc")
    silent = {"enabled": False, "port": free_port(), "broadcast_addresses": [], "timeout": 0.05}
    contexts = {"far": {"host": "127.0.0.1", "tcp_server_port": 0}}
    path = write_site(tmp_path, tls=tls, discovery=silent, contexts=contexts, site={"relay": True})
    with site(path) as (server,), Program() as program:
        program.run(FAR.format(path=str(path)))
        relay = f"relay {server.address}"
        assert re.search(rf"^far +running +{relay} ", cli("ls").out, re.MULTILINE)
        found = cli("ls", "far")
        assert (found.code, found.err) == (0, "")
        assert re.search(r"^bench +Bench", found.out, re.MULTILINE)
        found = cli("call", "far.bench.echo", "5")
        assert (found.out, found.err) == ("5\n", "")
        (status,) = cli("ls", "--json").json
        assert (status["address"], status["tls"]) == (relay, tls)
        program.run("c.stop()")
