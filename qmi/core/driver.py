"""All that the author of a driver needs."""

from qmi.actors.channels import Channel
from qmi.actors.instrument import QMI_Instrument
from qmi.actors.interface import rpc_method
from qmi.actors.proxy_parameters import (
    AsyncParameterHandle,
    NonblockingParameterHandle,
    ParameterHandle,
    ProxyParameters,
)
from qmi.actors.pubsub.signal import QMI_Signal
from qmi.devices.instrument import AsyncTransportInstrument, TransportInstrument
from qmi.devices.scpi_instrument import AsyncScpiChannel, AsyncScpiInstrument, ScpiChannel, ScpiInstrument
from qmi.parameters.blocks import Block
from qmi.parameters.capabilities import HasLimits, Movable, Readable, Triggerable
from qmi.parameters.channels import ChannelList, Channels, channels
from qmi.parameters.declaration import Parameter, ParameterDecorator, parameter
from qmi.parameters.info import ParameterInfo
from qmi.parameters.snapshot import Change, Reading, Snapshot, diff
from qmi.simulation.simulator import SimulatedError, Simulator
from qmi.simulation.sources import Noise, Settling, Source

__all__ = [
    "AsyncParameterHandle",
    "AsyncScpiChannel",
    "AsyncScpiInstrument",
    "AsyncTransportInstrument",
    "Block",
    "Change",
    "Channel",
    "ChannelList",
    "Channels",
    "HasLimits",
    "Movable",
    "Noise",
    "NonblockingParameterHandle",
    "Parameter",
    "ParameterDecorator",
    "ParameterHandle",
    "ParameterInfo",
    "ProxyParameters",
    "QMI_Instrument",
    "QMI_Signal",
    "Readable",
    "Reading",
    "ScpiChannel",
    "ScpiInstrument",
    "Settling",
    "SimulatedError",
    "Simulator",
    "Snapshot",
    "Source",
    "TransportInstrument",
    "Triggerable",
    "channels",
    "diff",
    "parameter",
    "rpc_method",
]
