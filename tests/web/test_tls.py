"""HTTPS: with the certificates that the project makes, by clients that verify them."""

from __future__ import annotations

import logging
import re
import shutil
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from qmi.errors import QMI_ConfigurationException
from qmi.tools.certs import make_ca, make_certificate
from qmi.web import listening
from qmi.web.certificates import https_warnings
from qmi.web.options import Options
from tests.support.web import web_and_lab


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA, and certificates for this computer and for others."""
    folder = tmp_path_factory.mktemp("certificates")
    make_ca(folder)
    make_certificate(folder, "web", hosts=["localhost", "127.0.0.1"])
    make_certificate(folder, "elsewhere", hosts=["lab-pc.example"])
    make_certificate(folder, "nameless")
    return folder


def options(folder: Path, name: str = "web", bind: str = "127.0.0.1:0") -> Options:
    return Options(
        bind=bind,
        certificate=str(folder / f"{name}.pem"),
        key=str(folder / f"{name}.key"),
        dashboards=str(folder / "boards"),
    )


@pytest.mark.parametrize("bind", ["127.0.0.1:0", pytest.param("localhost:0", marks=pytest.mark.slow)])
@pytest.mark.parametrize("http2", [False, True])
async def test_client_that_verifies_reads_and_changes(config: Path, certificates: Path, bind: str, http2: bool) -> None:
    verify = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    async with web_and_lab(config, options(certificates, bind=bind)) as web:
        assert web.url.startswith(f"https://{bind.partition(':')[0]}:")
        async with httpx.AsyncClient(base_url=web.url, verify=verify, http2=http2, trust_env=False) as client:
            answer = await client.get("/")
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            origin = {"origin": web.url.rstrip("/"), "sec-fetch-site": "same-origin"}
            entered = await client.post("/api/login", json={"token": web.token}, headers=origin)
            assert entered.status_code == 200
            assert "Secure" in entered.headers["set-cookie"]
            change = {**origin, "x-qmi-token": entered.json()["csrf"]}
            assert (await client.put("/api/dashboards/a", json={}, headers=change)).status_code == 200
            foreign = {**change, "origin": "https://evil.example"}
            assert (await client.put("/api/dashboards/a", json={}, headers=foreign)).status_code == 403
            async with client.stream("GET", "/api/events?topic=site") as events:
                assert events.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("name", ["elsewhere", "nameless"])
async def test_certificate_of_another_name_is_warned_of_and_refused_by_clients(
    config: Path, certificates: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    verify = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    async with web_and_lab(config, options(certificates, name)) as web:
        assert f"{name}.pem is for " in caplog.text
        assert "'qmi certs cert NAME --host 127.0.0.1' makes one" in caplog.text
        async with httpx.AsyncClient(base_url=web.url, verify=verify, trust_env=False) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("/")
        assert (await web.client.get("/static/qmi.css")).status_code == 200


NO_TLS = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "nothing": b"",
    "no hello": b"\x16\x03\x01\x00\x05hello",
    "zeros": bytes(500),
    "too long": b"\x16\x03\x01\xff\xff" + b"a" * 70_000,
}


@pytest.mark.parametrize("sent", NO_TLS.values(), ids=NO_TLS)
async def test_server_lives_on_after_what_is_no_tls(
    config: Path, certificates: Path, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with web_and_lab(config, options(certificates)) as web:
        async with await trio.open_tcp_stream("127.0.0.1", web.port) as stream:
            try:
                await stream.send_all(sent)
                await stream.send_eof()
                assert b"HTTP" not in await stream.receive_some()
            except trio.BrokenResourceError:
                pass
        assert (await web.client.get("/static/qmi.css")).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_tls_of_long_ago_is_refused(config: Path, certificates: Path) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    async with (
        web_and_lab(config, options(certificates)) as web,
        httpx.AsyncClient(base_url=web.url, verify=old, trust_env=False) as client,
    ):
        with pytest.raises(httpx.ConnectError):
            await client.get("/")


async def served_name(port: int) -> str:
    """For whom the certificate is that the next connection gets."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=trusting) as stream:
        await stream.do_handshake()
        loaded = x509.load_der_x509_certificate(stream.getpeercert(binary_form=True))
    return str(loaded.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


async def test_certificate_that_is_renewed_is_what_new_connections_get(
    config: Path, certificates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "qmi.web")

    def put(*ends: str, name: str) -> None:
        for end in ends:
            new = tmp_path / "new"
            shutil.copyfile(certificates / f"{name}.{end}", new)
            new.replace(tmp_path / f"web.{end}")

    put("pem", "key", name="web")
    first = x509.load_pem_x509_certificate((certificates / "web.pem").read_bytes())
    own = str(first.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
    async with (
        web_and_lab(config, options(tmp_path)) as web,
        httpx.AsyncClient(base_url=web.url, verify=False, trust_env=False) as client,
    ):
        assert (await client.get("/static/qmi.css")).status_code == 200
        assert await served_name(web.port) == own
        put("pem", name="elsewhere")  # its key comes a moment later
        assert await served_name(web.port) == own
        assert "the one before is used still: HTTPS is not possible" in caplog.text
        assert caplog.text.count("they do not belong together") == 1
        await served_name(web.port)
        assert caplog.text.count("they do not belong together") == 1, "once, and not for each connection"
        put("key", name="elsewhere")
        assert await served_name(web.port) != own
        assert "was changed, and is used from now on" in caplog.text
        assert "'qmi certs cert NAME --host 127.0.0.1' makes one" in caplog.text
        (tmp_path / "web.pem").unlink()
        assert await served_name(web.port) != own
        put("pem", "key", name="web")
        assert await served_name(web.port) == own
        assert (await client.get("/static/qmi.css")).status_code == 200, "the connection that was there goes on"


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("sent", [PREFACE, PREFACE + SETTINGS, PREFACE[:18]], ids=["preface", "settings", "part"])
async def test_connection_without_tls_that_turns_to_http_2_and_asks_for_nothing_is_ended(
    config: Path, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anycorn.Config.keep_alive_timeout", 0.05)
    async with web_and_lab(config) as web, await trio.open_tcp_stream("127.0.0.1", web.port) as stream:
        await stream.send_all(sent)
        with trio.fail_after(20):
            async for _ in stream:
                pass


async def test_client_without_tls_is_served_by_http_2(config: Path) -> None:
    async with (
        web_and_lab(config) as web,
        httpx.AsyncClient(base_url=web.url, http1=False, http2=True, trust_env=False) as client,
    ):
        for _ in range(3):
            answer = await client.get("/api/session")
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2")


async def test_client_that_never_speaks_is_let_go(
    config: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HANDSHAKE_PATIENCE", 0.05)
    async with (
        web_and_lab(config, options(certificates)) as web,
        await trio.open_tcp_stream("127.0.0.1", web.port) as stream,
    ):
        with trio.fail_after(20):
            assert await stream.receive_some() == b""


def test_files_that_will_not_do_are_said_so(tmp_path: Path, certificates: Path) -> None:
    web, other = certificates / "web.pem", certificates / "elsewhere.key"
    key = serialization.load_pem_private_key((certificates / "web.key").read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    (tmp_path / "text").write_text("no certificate")
    for certificate, key_file, fault in (
        (web, other, "they do not belong together"),
        (web, locked, r"with the key .*locked\.key: it is protected by a passphrase"),
        (web, tmp_path / "none.key", r"none\.key: No such file or directory"),
        (tmp_path / "none.pem", other, r"none\.pem: No such file or directory"),
        (tmp_path / "text", other, "they are no PEM files of a certificate and its key"),
        (web, tmp_path / "text", "they are no PEM files of a certificate and its key"),
        (tmp_path, other, "Is a directory"),
    ):
        with pytest.raises(QMI_ConfigurationException, match=f"HTTPS is not possible .*{fault}"):
            listening.tls_of(Options(certificate=str(certificate), key=str(key_file)))


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("name", "host", "now", "warning"),
    [
        ("web", "localhost", NOW, None),
        ("web", "LOCALHOST.", NOW, None),
        ("web", "127.0.0.1", NOW, None),
        ("web", "::1", NOW, r"is for localhost, 127\.0\.0\.1, so that browsers refuse it for ::1"),
        ("web", "lab-pc", NOW, "'qmi certs cert NAME --host lab-pc' makes one"),
        ("nameless", "lab-pc", NOW, "is for no name of a machine, so that browsers refuse it for lab-pc"),
        ("web", "localhost", NOW + timedelta(days=3640), "expires on "),
        ("web", "localhost", NOW + timedelta(days=3660), "expired on "),
    ],
)
def test_what_browsers_will_refuse_is_known_before(
    certificates: Path, name: str, host: str, now: datetime, warning: str | None
) -> None:
    found = https_warnings(str(certificates / f"{name}.pem"), str(certificates / f"{name}.key"), host, now)
    assert len(found) == (warning is not None)
    assert warning is None or re.search(warning, found[0])


def test_wildcards_and_keys_of_everybody_are_known(tmp_path: Path) -> None:
    make_ca(tmp_path)
    certificate, key = make_certificate(tmp_path, "any", hosts=["*.lab.example"])
    key.chmod(0o644)
    files = str(certificate), str(key)
    assert len(https_warnings(*files, "pc.lab.example")) == 1
    assert "can be used by others" in https_warnings(*files, "pc.lab.example")[0]
    assert len(https_warnings(*files, "lab.example")) == len(https_warnings(*files, "a.pc.lab.example")) == 2
