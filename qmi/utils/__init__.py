"""Small helpers for scripts, and those that drivers from elsewhere bring with them."""

from qmi.drivers.finder import install as _install

__path__ = _install(__name__)
