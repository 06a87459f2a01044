"""Instruments of any vendor that understand the usual commands of their kind."""

from qmi.instruments.scpi.instrument import Scpi_Instrument
from qmi.instruments.scpi.multimeter import MultimeterFunction, Scpi_Multimeter
from qmi.instruments.scpi.oscilloscope import OscilloscopeChannel, Scpi_Oscilloscope, Waveform
from qmi.instruments.scpi.power_supply import PowerSupplyOutput, Scpi_PowerSupply

__all__ = [
    "MultimeterFunction",
    "OscilloscopeChannel",
    "PowerSupplyOutput",
    "Scpi_Instrument",
    "Scpi_Multimeter",
    "Scpi_Oscilloscope",
    "Scpi_PowerSupply",
    "Waveform",
]
