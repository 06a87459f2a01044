"""The file that keeps the token."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qmi.errors import QMI_ConfigurationException
from qmi.web.options import Options
from qmi.web.tokens import kept_token
from tests.support.web import web_and_lab


def test_token_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "web.token"
    token = kept_token(path)
    assert kept_token(path) == token
    assert len(token) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    assert kept_token(path) != token


@pytest.mark.parametrize(
    "content", ["my own token, say\n", "", "short", "\n\n", "a" * 257, "a" * 20 + "\nb", "ü" * 20, "\0" * 20]
)
def test_file_without_a_token_is_said_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "web.token"
    path.touch(0o600)
    path.write_text(content)
    with pytest.raises(QMI_ConfigurationException, match=r"web\.token has no token: expected 16 letters"):
        kept_token(path)


@pytest.mark.skipif(os.name != "posix", reason="other rights on Windows")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o606])
def test_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "web.token"
    path.write_text("a" * 32)
    path.chmod(mode)
    with pytest.raises(
        QMI_ConfigurationException, match=rf"can be used by others of this computer \(mode {mode:04o}\)"
    ):
        kept_token(path)


def test_file_that_cannot_be_used_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(QMI_ConfigurationException, match=r"The file of the token .* cannot be used: "):
        kept_token(tmp_path / "file" / "web.token")
    with pytest.raises(QMI_ConfigurationException, match=r"cannot be used: Is a directory"):
        kept_token(tmp_path)


async def test_token_of_the_file_lets_in_and_is_named_by_the_page(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "lab_web.token"
    options = Options(bind="127.0.0.1:0", token_file=str(path), dashboards=str(tmp_path / "b"))
    async with web_and_lab(config, options) as web:
        assert "in the file <code>lab_web.token</code>" in (await web.client.get("/login")).text
        assert (await web.client.post("/api/login", json={"token": path.read_text().strip()})).status_code == 200


@pytest.mark.parametrize(("host", "status"), [("127.0.0.2", 200), ("localhost", 200), ("127.0.0.3", 421)])
async def test_server_of_another_address_of_this_computer_is_called_by_it(config: Path, host: str, status: int) -> None:
    async with web_and_lab(config, Options(bind="127.0.0.2:0")) as web:
        answer = await web.client.get("/static/qmi.css", headers={"host": f"{host}:{web.port}"})
        assert answer.status_code == status
