"""Objects of other libraries as instruments: :func:`qmi.hosted`, and what adapters are made of."""

from qmi.hosting.adapter import Adapter, PlainAdapter
from qmi.hosting.content import Content, HostedChannels, HostedMethod, HostedParameter
from qmi.hosting.instrument import HostedInstrument, hosted_class

__all__ = [
    "Adapter",
    "Content",
    "HostedChannels",
    "HostedInstrument",
    "HostedMethod",
    "HostedParameter",
    "PlainAdapter",
    "hosted_class",
]

for _public in (Adapter, Content, HostedChannels, HostedInstrument, HostedMethod, HostedParameter, PlainAdapter):
    _public.__module__ = "qmi.hosting"
