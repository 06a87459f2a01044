"""Thermostats of Julabo."""

from qmi.instruments.julabo.thermostat import Julabo_Thermostat, ThermostatStatus

__all__ = ["Julabo_Thermostat", "ThermostatStatus"]
