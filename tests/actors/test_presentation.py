from __future__ import annotations

import inspect
import pydoc
from collections.abc import Iterator
from typing import Any

import pytest

import qmi
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator


class Odd(QMI_RpcObject):
    @rpc_method
    def plain(self, a, b=[1], /, *args, c: int = 3, **more):  # type: ignore[no-untyped-def]  # noqa: B006
        return a

    @rpc_method
    def only_names(self, *, c: dict[str, int]) -> tuple[int, ...]:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def context() -> Iterator[None]:
    with qmi.start("help", None):
        yield


@pytest.fixture
def nsg() -> Any:
    return qmi.make_instrument("nsg", NoisySineGenerator)


@pytest.fixture
def odd() -> Any:
    return qmi.make_rpc_object("odd", Odd)


def help_text(thing: Any) -> str:
    return pydoc.plain(pydoc.render_doc(thing))


@pytest.mark.parametrize("view", ["itself", "rpc_nonblocking", "rpc_async"])
def test_help_shows_what_users_need_and_no_inner_workings(nsg: Any, view: str) -> None:
    text = help_text(nsg if view == "itself" else getattr(nsg, view))
    assert "A simulated generator of a sine wave" in text
    assert "get_sample(self" in text
    assert "One sample of the wave, taken now." in text
    for clutter in ("__", "handle", "weakref", "_rpc", "'float", "'None'"):
        assert clutter not in text.replace("_ProxyBase", "")


def test_help_shows_how_to_lock(nsg: Any) -> None:
    text = help_text(nsg)
    arguments = "self, timeout: float = 0.0, lock_token: str | None = None, *, reason: str | None = None"
    assert f"lock({arguments}) -> bool" in text
    assert "address\n" in text


def test_tab_completion_offers_the_methods(nsg: Any) -> None:
    assert {"get_sample", "lock", "rpc_nonblocking", "address"} <= set(dir(nsg))


def test_signatures_are_as_written(nsg: Any, odd: Any) -> None:
    timeout = "rpc_timeout: float | None = None"
    assert str(inspect.signature(nsg.set_amplitude)) == f"(amplitude: float, *, {timeout}) -> None"
    assert str(inspect.signature(nsg.rpc_nonblocking.set_amplitude)) == "(amplitude: float) -> None"
    assert str(inspect.signature(odd.plain)) == f"(a, b=[1], /, *args, c: int = 3, {timeout}, **more)"
    assert str(inspect.signature(odd.only_names)) == f"(*, c: dict[str, int], {timeout}) -> tuple[int, ...]"


def test_class_of_a_proxy_shows_no_constructor(nsg: Any) -> None:
    assert str(inspect.signature(type(nsg))) == "()"
