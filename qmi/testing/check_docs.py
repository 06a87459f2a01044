"""What of a driver can be checked without making one: its documentation and its units."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

from qmi.actors.interface import published_functions
from qmi.parameters.declaration import Parameter
from qmi.parameters.declared import declared_of
from qmi.testing.findings import DriverReport

_LIBRARY = ("qmi.actors.", "qmi.core.", "qmi.devices.", "qmi.parameters.")


def check_docs(cls: type, report: DriverReport) -> None:
    """Check that a class, its own methods and its parameters are documented, and have units.

    Args:
        cls: The driver.
        report: Where findings go.
    """
    report.count("docs")
    if not _is_text(vars(cls).get("__doc__")):
        report.find("docs", cls.__name__, "the class has no docstring; say in one line what device it drives")
    _check_methods(cls, report)
    _check_parameters(cls, report)
    for group in declared_of(cls).channels.values():
        channel = group.channel_class
        report.count("docs")
        if not _is_text(vars(channel).get("__doc__")):
            report.find("docs", channel.__name__, f"the class of {cls.__name__}.{group.name} has no docstring")
        _check_methods(channel, report)
        _check_parameters(channel, report)


def _check_methods(cls: type, report: DriverReport) -> None:
    for name, function in own_methods(cls):
        report.count("docs")
        if not _is_text(inspect.getdoc(function)):
            report.find("docs", f"{cls.__name__}.{name}()", "the method has no docstring")


def own_methods(cls: type) -> Iterator[tuple[str, Callable[..., object]]]:
    """The published methods that were written by the author of a driver, or of drivers that it derives from."""
    for name, function in published_functions(cls).items():
        written = inspect.unwrap(function)
        if inspect.isfunction(written) and not name.startswith("_"):
            # Not __module__, which says of those that are made for parameters that they are the driver's.
            module = str(written.__globals__.get("__name__"))
            if not module.startswith(_LIBRARY):
                yield name, function


def _check_parameters(cls: type, report: DriverReport) -> None:
    for name, parameter in declared_of(cls).parameters.items():
        where = f"{cls.__name__}.{name}"
        report.count("docs")
        if not _is_text(parameter.doc):
            report.find("docs", where, "the parameter has no doc; say doc='...' in its declaration")
        if _needs_unit(parameter):
            report.count("units")
            # That of a reading of several kinds depends on the kind.
            if not parameter.unit and "unit" not in parameter.doc.lower():
                what = "a float has a unit: unit='V', unit='1' for a number without one, or a doc that says which unit"
                report.find("units", where, what)


def _needs_unit(parameter: Parameter[object]) -> bool:
    return parameter.block is None and issubclass(parameter.type, float)


def _is_text(doc: object) -> bool:
    return isinstance(doc, str) and bool(doc.strip())
