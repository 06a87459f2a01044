from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, ClassVar

import pytest

from qmi.actors.interface import (
    RESERVED_NAMES,
    Interface,
    Kind,
    Placement,
    constants_of,
    describe_class,
    describe_method,
    direct_method,
    is_rpc_method,
    method_kind,
    placement_of,
    published_functions,
    rpc_method,
)
from qmi.actors.interface_plain import interface_from_plain, interface_to_plain
from qmi.actors.proxy import QMI_RpcProxy
from qmi.actors.rpc_object import interface_of
from qmi.actors.unknown_names import unknown_method
from qmi.core.exceptions import QMI_UsageException
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import QMI_RpcObject


class Base:
    """A base."""

    _rpc_constants: ClassVar[Sequence[str]] = ("ONE",)
    ONE = 1

    @rpc_method
    def published(self, a: int, /, b: "str" = "x", *rest: float, c: bool = True, **more: Any) -> list[int]:  # noqa: UP037
        """Do something.

        With details.
        """
        return []

    @rpc_method
    def overridden(self) -> None:
        """Original."""

    @direct_method
    def asked(self) -> int:
        return 1

    def private(self) -> None: ...


class Derived(Base):
    """A class."""

    _rpc_constants: ClassVar[Sequence[str]] = ["TWO"]
    TWO = 2

    def overridden(self) -> None:  # type: ignore[override]
        """Changed."""

    @rpc_method
    async def waits(self) -> None: ...

    @rpc_method
    def items(self) -> Iterator[int]:
        yield 1

    @rpc_method
    async def async_items(self) -> AsyncIterator[int]:
        yield 1

    published_attribute = 5


def test_interface_of_a_derived_class_has_what_its_base_publishes() -> None:
    assert set(published_functions(Derived)) == {
        "published", "overridden", "asked", "waits", "items", "async_items",
    }  # fmt: skip
    assert is_rpc_method(Derived.overridden)
    assert not is_rpc_method(Derived.private)
    assert not is_rpc_method(5)
    assert is_rpc_method(Derived().published)


def test_a_descriptor_is_plain_data() -> None:
    facade = describe_class(Derived, category="instrument", enter=("open",), exit=("close",))
    assert facade.class_name == "tests.actors.test_interface.Derived"
    assert (facade.short_name, facade.doc, facade.category, facade.enter, facade.exit) == (
        "Derived", "A class.", "instrument", ("open",), ("close",),
    )  # fmt: skip
    assert dict(facade.constants) == {"ONE": 1, "TWO": 2}
    method = facade.methods["published"]
    assert method.doc == "Do something.\n\nWith details."
    assert method.returns == "list[int]"
    assert [tuple(parameter) for parameter in method.parameters] == [
        ("a", int(inspect.Parameter.POSITIONAL_ONLY), None, "int"),
        ("b", int(inspect.Parameter.POSITIONAL_OR_KEYWORD), "'x'", "'str'"),
        ("rest", int(inspect.Parameter.VAR_POSITIONAL), None, "float"),
        ("c", int(inspect.Parameter.KEYWORD_ONLY), "True", "bool"),
        ("more", int(inspect.Parameter.VAR_KEYWORD), None, "Any"),
    ]
    assert facade.methods["overridden"].doc == "Changed."
    assert facade.methods["asked"].direct
    assert not method.direct
    assert Interface("Lone").short_name == "Lone"


@pytest.mark.parametrize(
    ("name", "kind", "is_async", "is_stream"),
    [
        ("published", Kind.PLAIN, False, False),
        ("waits", Kind.ASYNC, True, False),
        ("items", Kind.GENERATOR, False, True),
        ("async_items", Kind.ASYNC_GENERATOR, True, True),
    ],
)
def test_kinds(name: str, kind: Kind, is_async: bool, is_stream: bool) -> None:
    found = method_kind(vars(Derived).get(name) or vars(Base)[name])
    assert found is kind
    assert (found.is_async, found.is_stream) == (is_async, is_stream)


def test_reserved_names_are_few_and_known() -> None:
    assert set(RESERVED_NAMES) == {"lock", "unlock", "is_locked", "force_unlock", "address", "rpc_nonblocking"}
    assert all(hasattr(QMI_RpcProxy, name) for name in RESERVED_NAMES)
    for name in ("lock", "__init__", "__repr__", "__rpc_get__"):

        def method(self: Any) -> None: ...

        method.__name__ = name
        cls = type("Bad", (), {name: rpc_method(method)})
        with pytest.raises(QMI_UsageException, match=rf"Bad\.{name}\(\) cannot be published: "):
            describe_class(cls)


def test_interface_refuses_a_method_that_takes_the_timeout_of_its_proxies() -> None:
    def measure(self: Any, rpc_timeout: float) -> None: ...

    with pytest.raises(QMI_UsageException, match=r"measure\(\) cannot be published: its argument 'rpc_timeout'"):
        describe_method("measure", rpc_method(measure))


def test_interface_publishes_only_methods() -> None:
    for thing in (5, staticmethod(len), property(None), len):
        with pytest.raises(QMI_UsageException, match="Only a method can be published; got"):
            rpc_method(thing)  # type: ignore[arg-type]


def test_constants_exist() -> None:
    with pytest.raises(QMI_UsageException, match=r"Odd\._rpc_constants names 'MISSING', which the class lacks"):
        constants_of(type("Odd", (), {"_rpc_constants": ["MISSING"]}))


def test_placement_says_where_methods_run() -> None:
    waits = vars(Derived)["waits"]
    plain = vars(Base)["overridden"]
    assert placement_of(Derived, ()) is Placement.THREAD
    assert placement_of(type("A", (), {"waits": waits}), ()) is Placement.LOOP
    assert placement_of(type("A", (), {"waits": waits, "plain": plain}), ()) is Placement.THREAD
    assert placement_of(type("A", (), {"waits": waits, "plain": plain}), (__name__,)) is Placement.THREAD
    assert placement_of(type("A", (), {}), ()) is Placement.THREAD
    assert placement_of(type("A", (), {"_rpc_placement": Placement.CALLER}), ()) is Placement.CALLER
    assert QMI_RpcObject._rpc_placement is None


class Sent(QMI_RpcObject):
    """What other programs are told about."""

    _rpc_constants = ("LIMIT",)
    LIMIT = 7
    sig_value = QMI_Signal([float])

    @rpc_method
    def add(self, a: float, b: float = 2.0) -> float:
        """Add two numbers."""
        return a + b


def plain_sent() -> list[Any]:
    return interface_to_plain(interface_of(Sent))


def test_an_interface_survives_being_sent() -> None:
    assert interface_from_plain(plain_sent()) == interface_of(Sent)


DAMAGES: list[tuple[Callable[[list[Any]], Any], str]] = [
    (lambda plain: None, "not the fields of an interface"),
    (lambda plain: plain[:-1], "not the fields of an interface"),
    (lambda plain: [7, *plain[1:]], "a field of an interface has the wrong type"),
    (lambda plain: [*plain[:3], [["add"]], *plain[4:]], "not the fields of an interface"),
    (lambda plain: [*plain[:3], [["no name", *plain[3][0][1:]]], *plain[4:]], "is no identifier"),
    (lambda plain: [*plain[:3], [["__init__", *plain[3][0][1:]]], *plain[4:]], "no method can be called '__init__'"),
    (lambda plain: [*plain[:3], [["lock", *plain[3][0][1:]]], *plain[4:]], "no method can be called 'lock'"),
    (lambda plain: [*plain[:3], [[*plain[3][0][:4], "odd", False]], *plain[4:]], "'odd' is not a valid Kind"),
    (lambda plain: [*plain[:4], {7: 1}, *plain[5:]], "is no identifier"),
    (lambda plain: [*plain[:5], [["sig", [7]]], *plain[6:]], "the types of a signal are texts"),
    (lambda plain: [*plain[:5], [["a sig", []]], *plain[6:]], "is no identifier"),
    (lambda plain: [*plain[:6], [7], *plain[7:]], "is no identifier"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_interface_of_another_form_is_refused(damage: Callable[[list[Any]], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        interface_from_plain(damage(plain_sent()))


def test_the_nearest_name_may_be_a_constant() -> None:
    text = unknown_method(interface_of(Sent), "lab.x", "LIMITS", False)
    assert text == "Sent lab.x has no published method 'LIMITS'. Did you mean 'LIMIT'?"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sig_valeu", "Sent lab.x has no signal or method 'sig_valeu'. Did you mean 'sig_value'?"),
        ("sig_foo", "Sent lab.x has no signal or method 'sig_foo'"),
        ("value", "Sent lab.x has no published method 'value'"),
    ],
)
def test_unknown_name_that_begins_like_a_signal_is_compared_with_the_signals(name: str, text: str) -> None:
    assert unknown_method(interface_of(Sent), "lab.x", name, False) == text
