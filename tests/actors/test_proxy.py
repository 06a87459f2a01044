from __future__ import annotations

import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import (
    QMI_BlockingOnLoopException,
    QMI_InvalidOperationException,
    QMI_RpcTimeoutException,
    QMI_UnknownRpcException,
    QMI_UsageException,
)
from qmi.core.rpc import QMI_RpcObject, QMI_RpcProxy, rpc_method
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from tests.support.drivers import Async, Gate, Inline, Plain


def test_proxy_shows_people_what_it_is(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    assert repr(x) == "<rpc proxy for lab.x (tests.support.drivers.Plain)>"
    assert repr(x.rpc_nonblocking) == "<non-blocking rpc proxy for lab.x (tests.support.drivers.Plain)>"
    assert repr(x.rpc_async) == "<async rpc proxy for lab.x (tests.support.drivers.Plain)>"
    assert x.address == x.rpc_nonblocking.address == x.rpc_async.address == "lab.x"
    assert x.rpc_async.rpc_blocking.add(1) == 3
    assert x.rpc_async.rpc_nonblocking.add(1).wait(10) == 3
    assert x.LIMIT == 7
    assert x.rpc_nonblocking.LIMIT == 7


def test_help_shows_the_methods_of_the_driver(lab: QMI_Context) -> None:
    x = lab.make_instrument("x", Plain)
    text = pydoc.render_doc(x, renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    assert "An instrument with a thread of its own." in text
    # From 3.13 on, pydoc puts each parameter of a long signature on a line of its own.
    parameters = ["self", "a: float", "b: float = 2.0", "*", "scale: float = 1.0", "rpc_timeout: float | None = None"]
    gap = r"[\s|]*"
    assert re.search(rf"add\({gap}" + f",{gap}".join(map(re.escape, parameters)) + rf"{gap}\)", text)
    assert "scale: What the sum is multiplied by." in text
    assert "Lock the object for this proxy alone." in text
    assert "unpublished" not in text


def test_signatures(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    shown = "(a: float, b: float = 2.0, *, scale: float = 1.0{}) -> float"
    assert str(inspect.signature(x.add)) == shown.format(", rpc_timeout: float | None = None")
    assert str(inspect.signature(x.rpc_async.add)) == shown.format(", rpc_timeout: float | None = None")
    assert str(inspect.signature(x.rpc_nonblocking.add)) == shown.format("")
    assert x.add.__name__ == "add"
    assert type(x).add.__qualname__ == "PlainProxy.add"
    assert type(x).__module__ == "tests.support.drivers"


class Odd(QMI_RpcObject):
    @rpc_method
    def positional(self, a: int, /, b: int = 1, *args: int, **kwargs: int) -> Any:
        return (a, b, args, kwargs)

    @rpc_method
    def bare(self):  # type: ignore[no-untyped-def]
        return 1


def test_signatures_of_all_shapes(lab: QMI_Context) -> None:
    x: Any = lab.make_rpc_object("x", Odd)
    assert str(inspect.signature(x.positional)) == (
        "(a: int, /, b: int = 1, *args: int, rpc_timeout: float | None = None, **kwargs: int) -> Any"
    )
    assert str(inspect.signature(x.bare)) == "(*, rpc_timeout: float | None = None)"
    assert x.positional(1, 2, 3, d=4) == (1, 2, (3,), {"d": 4})
    assert x.positional(1, a=4, rpc_timeout=10) == (1, 1, (), {"a": 4})
    assert x.bare() == 1


def test_tab_completion(lab: QMI_Context) -> None:
    x = lab.make_instrument("x", Plain)
    names = set(dir(x))
    assert {"add", "block", "open", "is_open", "lock", "locked", "address", "LIMIT", "rpc_nonblocking"} <= names
    assert "unpublished" not in names
    assert "release_rpc_object" not in names


def test_a_proxy_takes_no_attribute(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    with pytest.raises(
        QMI_UnknownRpcException, match=r"Plain lab\.x has no property 'frequency', and a proxy keeps no"
    ):
        x.frequency = 5
    for view in (x.rpc_nonblocking, x.rpc_async):
        with pytest.raises(QMI_UnknownRpcException, match=r"Plain lab\.x has no property 'frequency'"):
            view.frequency = 5
    with pytest.raises(AttributeError, match=r"^add of lab\.x is a method, which is called: nothing can be assigned"):
        x.add = 5
    with pytest.raises(AttributeError, match=r"^address of lab\.x is always there"):
        x.address = "lab.y"
    with pytest.raises(QMI_UnknownRpcException, match=r"Plain lab\.x has no published method 'frequency'$"):
        x.frequency  # noqa: B018
    with pytest.raises(AttributeError, match=r"'PlainProxy' object has no attribute '__array__'"):
        x.__array__  # noqa: B018


def test_proxies_of_one_class_share_their_class(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    y: Any = lab.make_instrument("y", Plain)
    assert type(x) is type(y)
    assert isinstance(x, QMI_RpcProxy)
    z: Any = lab.make_instrument("z", Inline)
    assert type(x) is not type(z)


def test_proxy_block_opens_and_closes(lab: QMI_Context) -> None:
    x = lab.make_instrument("x", Plain)
    with x as same:
        assert same is x
        assert x.is_open()
        with pytest.raises(QMI_InvalidOperationException, match="'x' is open already"):
            x.open()
    assert not x.is_open()
    with pytest.raises(QMI_InvalidOperationException, match=r"'x' is not open; call its open\(\) first"):
        x.close()


@pytest.mark.parametrize("timeout", [-1, "1", True])
def test_bad_timeouts_call_nothing(lab: QMI_Context, timeout: Any) -> None:
    x = lab.make_instrument("x", Plain)
    with pytest.raises(QMI_UsageException, match="A timeout is a number"):
        x.count(rpc_timeout=timeout)
    assert x.count() == 1


def test_a_timeout_gives_the_call_up(lab: QMI_Context, gate: Gate) -> None:
    x = lab.make_instrument("x", Plain, gate)
    with pytest.raises(QMI_RpcTimeoutException, match=r"No answer from lab\.x\.block\(\) within 0\.01 s"):
        x.block(rpc_timeout=0.01)
    with pytest.raises(QMI_RpcTimeoutException):
        x.count(rpc_timeout=0)
    gate.open.set()
    assert x.count() == 1, "the call that was given up in line did not run"


async def test_proxies_of_a_trio_program(trio_lab: Context) -> None:
    for name, cls in (("x", Plain), ("y", Inline)):
        x: Any = await trio_lab.make_instrument(name, cls)
        async with x as same:
            assert same is x
            assert await x.is_open()
            assert await x.call(cls.add, 1, b=1) == 2
            assert await x.call(Plain.count) == 1
        assert not await x.is_open()
        assert await x.rpc_nonblocking.add(1) == 3
        with pytest.raises(QMI_RpcTimeoutException, match="within 0 s"):
            await x.add(1, rpc_timeout=0)
        blocking = x.rpc_blocking
        with pytest.raises(
            QMI_BlockingOnLoopException,
            match=rf"lab\.{name}\.add\(\) would block the event loop; "
            r"write 'await proxy\.rpc_nonblocking\.add\(\.\.\.\)'",
        ):
            blocking.add(1)
        assert blocking.is_locked() is False, "what is answered at once needs no wait"
        with pytest.raises(QMI_BlockingOnLoopException), blocking:
            raise AssertionError
    loop_object: Any = await trio_lab.make_rpc_object("z", Async)
    assert await loop_object.call(Async.add, 1) == 3
    with pytest.raises(QMI_RpcTimeoutException):
        await loop_object.forever(rpc_timeout=0.01)


GOOD = """
import qmi
from qmi.core.rpc import rpc_method
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator

nsg = qmi.make_instrument("nsg", NoisySineGenerator)
sample: float = nsg.get_sample()
more: float = nsg.get_sample(rpc_timeout=1.0)
nsg.set_frequency(2.0, rpc_timeout=None)
locked: bool = nsg.lock(timeout=1.0)
with nsg.locked():
    pass
with nsg:
    pass

async def main() -> None:
    async with qmi.open_context("lab") as lab:
        gen = await lab.make_instrument("nsg", NoisySineGenerator)
        value: float = await gen.call(NoisySineGenerator.get_sample)
        await gen.call(NoisySineGenerator.set_frequency, 2.0)
"""
BAD = [
    ("nsg.get_smaple()", "attr-defined"),
    ("text: str = nsg.get_sample()", "assignment"),
    ("nsg.set_frequency('fast')", "call-overload|arg-type"),
    ("nsg.set_frequency()", "call-overload|call-arg"),
    ("qmi.make_instrument('x', NoisySineGenerator, 5)", "arg-type|call-arg|call-overload"),
    ("qmi.make_instrument('x', int)", "arg-type|type-var|call-overload"),
]


@pytest.mark.slow
def test_an_editor_and_mypy_know_the_driver(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    head = GOOD.partition("sample: float")[0]
    lines = GOOD.splitlines()
    path = tmp_path / "script.py"
    path.write_text(GOOD + "\n".join(line for line, _ in BAD) + "\n")
    assert head
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(tmp_path / "cache"),
         "--config-file", "/dev/null", str(path)],
        cwd=root, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    faults = [line for line in run.stdout.splitlines() if ": error:" in line]
    first_bad = len(lines) + 1
    for index, (source, kinds) in enumerate(BAD):
        found = [line for line in faults if f"script.py:{first_bad + index}:" in line]
        assert any(f"[{kind}]" in line for line in found for kind in kinds.split("|")), (source, run.stdout)
    good = [line for line in faults if int(line.split(":")[1]) < first_bad]
    assert good == []


def test_the_tutorials_instrument(lab: QMI_Context) -> None:
    nsg = lab.make_instrument("nsg", NoisySineGenerator)
    assert isinstance(nsg.get_sample(), float)
    assert repr(nsg) == "<rpc proxy for lab.nsg (qmi.instruments.dummy.noisy_sine_generator.NoisySineGenerator)>"
