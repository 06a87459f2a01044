"""Every driver of the package passes check_driver()."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import qmi
from qmi.core.instrument import QMI_Instrument
from qmi.testing import inspect_driver


def drivers() -> Iterator[type[QMI_Instrument]]:
    home = str(Path(qmi.__file__).parent / "instruments")  # without drivers from elsewhere
    for module in pkgutil.walk_packages([home], "qmi.instruments."):
        loaded = importlib.import_module(module.name)
        for value in vars(loaded).values():
            if inspect.isclass(value) and issubclass(value, QMI_Instrument) and value.__module__ == module.name:
                yield value


@pytest.mark.parametrize("driver", dict.fromkeys(drivers()), ids=lambda driver: driver.__name__)
def test_driver_of_the_package_passes(driver: type[QMI_Instrument]) -> None:
    report = inspect_driver(driver)
    assert not report.findings, str(report)
