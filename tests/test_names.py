from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.errors import QMI_UsageException
from qmi.names import Address, HostPort, check_name, is_valid_name, nearest, parse_address, parse_host_port

GOOD_NAMES = st.from_regex(r"[-_a-zA-Z0-9()]{1,63}", fullmatch=True)


@given(GOOD_NAMES)
def test_a_good_name_is_returned_as_it_is(name: str) -> None:
    assert is_valid_name(name)
    assert check_name(name, "object") == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "Invalid context name '': it is empty. Allowed are letters, digits, '-', '_', '(' and ')'"),
        ("x" * 64, f"Invalid context name '{'x' * 64}': it has 64 characters, the limit is 63. Allowed are"),
        ("a.b", "Invalid context name 'a.b': it contains '.'. Allowed are"),
        ("b c.a", "Invalid context name 'b c.a': it contains ' ', '.'. Allowed are"),
        ("a\n", "Invalid context name 'a\\n': it contains '\\n'. Allowed are"),
        ("µm", "Invalid context name 'µm': it contains 'µ'. Allowed are"),
        (5, "A context name is a string; got 5 of type int"),
        (None, "A context name is a string; got None of type NoneType"),
    ],
)
def test_a_bad_name_is_refused_with_the_reason(name: str, message: str) -> None:
    assert not is_valid_name(name)
    with pytest.raises(QMI_UsageException) as caught:
        check_name(name, "context")
    assert str(caught.value).startswith(message)


@given(GOOD_NAMES, GOOD_NAMES | st.just("$context"))
def test_an_address_survives_being_written_and_read(context: str, name: str) -> None:
    assert parse_address(str(Address(context, name))) == Address(context, name)


def test_a_lone_object_name_gets_the_default_context() -> None:
    assert parse_address("nsg", "lab") == Address("lab", "nsg")


@pytest.mark.parametrize("text", ["nsg", "lab.", ".nsg", "lab.$other", "lab.a.b", "$context.nsg", "", 5])
def test_a_bad_address_is_refused(text: str) -> None:
    with pytest.raises(QMI_UsageException):
        parse_address(text)


@given(st.sampled_from(["localhost", "127.0.0.1", "::1", "fe80::1", "lab-pc.example"]), st.integers(0, 65535))
def test_an_endpoint_survives_being_written_and_read(host: str, port: int) -> None:
    assert parse_host_port(str(HostPort(host, port))) == HostPort(host, port)


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":1", "host:65536", "host:-1", "host:1.0", "::1:80", "a b:1", "[]:1", "[a]]:1", "h:²", None],
)
def test_a_bad_endpoint_is_refused(text: str) -> None:
    with pytest.raises(QMI_UsageException, match=r"expected 'host:port' such as '192.168.1.5:40001'"):
        parse_host_port(text)


def test_name_that_is_mistyped_is_reported_with_the_nearest() -> None:
    assert nearest("lasre", ["nsg", "laser"]) == "laser"
    assert nearest("lasre", ["nsg"]) is None
    assert nearest("LASER", ["nsg", "laser"]) == "laser"
    assert nearest("sl", ["get", "ls"]) == "ls"
    assert nearest("ls", ["ls"]) == "ls"
    assert nearest("ba", ["abc", "cd", "b"]) != "abc"


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("get_idn", "get_signals", None),
        ("get_idn", "get_info", None),
        ("set_gain", "set_name", None),
        ("get_sampel", "get_sample", "get_sample"),
        ("get_freq", "get_frequency", "get_frequency"),
        ("set_amplitude", "get_amplitude", "get_amplitude"),
        ("amplitude", "get_amplitude", "get_amplitude"),
        ("nsg_2", "nsg_1", "nsg_1"),
    ],
)
def test_names_that_only_begin_with_the_same_verb_are_not_near(name: str, known: str, near: str | None) -> None:
    assert nearest(name, ["other", known]) == near
