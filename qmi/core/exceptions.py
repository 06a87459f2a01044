"""The exceptions of the library; :mod:`qmi.errors` draws their tree."""

from qmi.errors import *  # noqa: F403
from qmi.errors import __all__ as __all__
