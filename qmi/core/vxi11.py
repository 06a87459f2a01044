"""VXI-11 devices by the calls that transports make, for tests of drivers that replace them."""

from qmi.devices.visa import Vxi11Device as Instrument

__all__ = ["Instrument"]
