from __future__ import annotations

import pytest

from qmi.config.schema import CfgContext, CfgQmi
from qmi.errors import QMI_UsageException
from qmi.proc.selection import Request, Target, is_local, select


def program(host: str | None = None, *, enabled: bool = True) -> CfgContext:
    return CfgContext(host=host, enabled=enabled, program_module="some.module", tcp_server_port=4000)


CONFIG = CfgQmi(
    config_file="/etc/qmi.conf",
    contexts={
        "here": program("127.0.0.1"),
        "there": program("lab-pc"),
        "nowhere": program(None),
        "off": program("127.0.0.1", enabled=False),
        "bare": CfgContext(host="127.0.0.1", enabled=True),
    },
)


def names(request: Request) -> list[str]:
    return [target.name for target in select(CONFIG, request, {"10.0.0.1"})]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request(everything=True), ["here", "there", "nowhere"]),
        (Request(local_only=True), ["here", "nowhere"]),
        (Request(default_all=True), ["here", "there", "nowhere"]),
        (Request(local_only=True, default_all=True), ["here", "nowhere"]),
        (Request(["there", "here"], starting=True), ["there", "here"]),
        (Request(["here", "here"]), ["here"]),
        (Request(["off"]), ["off"]),
    ],
)
def test_a_request_means_these_contexts(request_: Request, expected: list[str]) -> None:
    assert names(request_) == expected


@pytest.mark.parametrize(
    ("request_", "parts"),
    [
        (Request(), ["Say which contexts", "--all or --locals", "here, there, nowhere, off"]),
        (Request(["here"], everything=True), ["either names or --all"]),
        (Request(["here"], local_only=True), ["either names or --locals"]),
        (Request(everything=True, local_only=True), ["either --all or --locals"]),
        (Request(["her"]), ["'her' is not configured in /etc/qmi.conf", "Did you mean 'here'?"]),
        (Request(["xyz"]), ["'xyz' is not configured", "Configured programs: here, there"]),
        (Request(["off"], starting=True), ["'off' is disabled", "contexts.off.enabled"]),
        (Request(["bare"]), ["'bare' has no program_module", "contexts.bare.program_module"]),
        (Request(["off", "xyz", "here"], starting=True), ["'off' is disabled", "'xyz' is not configured"]),
    ],
)
def test_a_request_that_cannot_be_met_says_everything_that_is_wrong(request_: Request, parts: list[str]) -> None:
    with pytest.raises(QMI_UsageException) as caught:
        names(request_)
    for part in parts:
        assert part in str(caught.value)


def test_a_configuration_without_programs_says_so() -> None:
    with pytest.raises(QMI_UsageException, match=r"'a' is not configured\. Configured programs: none"):
        select(CfgQmi(), Request(["a"]), ())


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (None, True),
        ("", True),
        ("localhost", True),
        ("LocalHost.", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", True),
        ("10.0.0.1", True),
        ("10.0.0.2", False),
        ("my-pc", True),
        ("MY-PC", True),
        ("other-pc", False),
        ("FE80:0::1", True),
    ],
)
def test_a_host_is_this_machine_or_not(host: str | None, expected: bool) -> None:
    assert is_local(host, {"10.0.0.1", "my-pc", "fe80::1"}) is expected


def test_a_target_knows_where_it_listens() -> None:
    assert str(Target("a", program("10.0.0.1"), False).address) == "10.0.0.1:4000"
    assert str(Target("a", program(None), True).address) == "localhost:4000"
    assert Target("a", CfgContext(), True).address is None
    assert Target("a", CfgContext(tcp_server_port=0), True).address is None
