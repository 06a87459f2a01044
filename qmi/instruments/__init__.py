"""Drivers: those that come with the library, and those from elsewhere that :mod:`qmi.drivers.search` finds."""

from qmi.drivers.finder import install as _install

__path__ = _install(__name__)
