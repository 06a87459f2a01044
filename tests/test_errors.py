from __future__ import annotations

import re

import pytest

from qmi import errors


def drawn_tree() -> dict[str, str]:
    """Read the drawing in the docstring: name of each class -> name of the class that it hangs from."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│├└─ ]*)(QMI_\w+)", line)
        if match:
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            if depth:
                parents[match[2]] = path[depth - 1]
    return parents


def test_the_drawn_tree_is_the_tree_of_the_classes() -> None:
    tree = {name: getattr(errors, name).__bases__[0].__name__ for name in errors.__all__ if name != "QMI_Exception"}
    assert drawn_tree() == tree


def test_the_drawing_names_the_other_bases() -> None:
    documented = dict(re.findall(r"(QMI_\w+) +\(also ([\w, ]+)\)", errors.__doc__ or ""))
    for name in errors.__all__:
        others = ", ".join(base.__name__ for base in getattr(errors, name).__bases__[1:])
        assert documented.get(name, "") == others, name


def test_every_exception_class_is_public() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert classes == set(errors.__all__)


@pytest.mark.parametrize("name", errors.__all__)
def test_tracebacks_show_where_users_import_an_exception_from(name: str) -> None:
    assert getattr(errors, name).__module__ == "qmi.core.exceptions"
    assert getattr(errors, name).__doc__


@pytest.mark.parametrize("name", errors.__all__)
def test_an_exception_can_be_made_with_a_message_alone(name: str) -> None:
    assert str(getattr(errors, name)("what happened")) == "what happened"


def test_configuration_faults_are_kept() -> None:
    assert errors.QMI_ConfigurationException("two", ["a", "b"]).faults == ("a", "b")
    assert errors.QMI_ConfigurationException("one").faults == ()


def test_a_remote_exception_keeps_the_name_of_its_type() -> None:
    assert errors.QMI_RemoteException("broken", "lab.LaserError").type_name == "lab.LaserError"
