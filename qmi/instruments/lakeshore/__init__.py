"""Instruments of Lake Shore Cryotronics."""

from qmi.instruments.lakeshore.temperature_controller import (
    ControlMode,
    HeaterError,
    HeaterRange,
    Lakeshore_335,
    Lakeshore_336,
    LakeshoreInput,
    LakeshoreLoop,
    PidParameters,
    SensorStatus,
)

__all__ = [
    "ControlMode",
    "HeaterError",
    "HeaterRange",
    "LakeshoreInput",
    "LakeshoreLoop",
    "Lakeshore_335",
    "Lakeshore_336",
    "PidParameters",
    "SensorStatus",
]
