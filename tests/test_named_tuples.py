"""Named tuples whose annotations are not compiled are those of :mod:`typing` in all else."""

from __future__ import annotations

import copy
import pickle
import typing
from typing import Any

import pytest

from qmi.records import NamedTuple


class Own(NamedTuple):
    """A place.

    Attributes:
        name: Its name.
    """

    name: str
    port: int = 1

    @property
    def text(self) -> str:
        """Both."""
        return f"{self.name}:{self.port}"

    @classmethod
    def here(cls) -> Own:
        """This one."""
        return cls("here")

    def __str__(self) -> str:
        return self.text


class Theirs(typing.NamedTuple):
    """The same."""

    name: str
    port: int = 1


def test_named_tuple_has_what_is_in_its_class() -> None:
    assert str(Own("a")) == "a:1"
    assert Own.here().text == "here:1"
    assert (Own.__doc__ or "").startswith("A place.")
    assert (Own.__module__, Own.__qualname__) == (__name__, "Own")


@pytest.mark.parametrize("attribute", ["_fields", "_field_defaults", "__match_args__", "__slots__", "__bases__"])
def test_named_tuple_is_described_as_one_of_typing(attribute: str) -> None:
    assert getattr(Own, attribute) == getattr(Theirs, attribute)


def test_named_tuple_behaves_as_one_of_typing() -> None:
    own, theirs = Own("a", 2), Theirs("a", 2)
    assert tuple(own) == tuple(theirs) == ("a", 2)
    assert hash(own) == hash(theirs)
    assert repr(own) == repr(theirs).replace("Theirs", "Own")
    assert own._replace(port=3)._asdict() == theirs._replace(port=3)._asdict()
    assert typing.get_type_hints(Own) == typing.get_type_hints(Theirs)
    for other in (pickle.loads(pickle.dumps(own)), copy.deepcopy(own), Own._make(own)):
        assert (type(other), other) == (Own, own)


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), (("a", 1, 2), {}), (("a",), {"prot": 1})])
def test_named_tuple_refuses_other_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Own(*args, **kwargs)
