"""Instruments of Stanford Research Systems."""

from qmi.instruments.stanford.lock_in_amplifier import (
    Coupling,
    FilterSlope,
    Grounding,
    InputSource,
    LineFilter,
    LockInAux,
    LockInStatus,
    Polar,
    Quadratures,
    ReferenceEdge,
    ReferenceSource,
    Reserve,
    Stanford_LockInAmplifier,
)

__all__ = [
    "Coupling",
    "FilterSlope",
    "Grounding",
    "InputSource",
    "LineFilter",
    "LockInAux",
    "LockInStatus",
    "Polar",
    "Quadratures",
    "ReferenceEdge",
    "ReferenceSource",
    "Reserve",
    "Stanford_LockInAmplifier",
]
