"""The types of :mod:`qmi.core.driver` that travel: a program that only gets such values imports no more than these.

They are here since this is the highest of the packages that they come from.
"""

from __future__ import annotations

from qmi.parameters.info import ParameterInfo
from qmi.parameters.snapshot import Change, Reading, Snapshot
from qmi.simulation.simulator import SimulatedError

__all__ = ["Change", "ParameterInfo", "Reading", "SimulatedError", "Snapshot"]
