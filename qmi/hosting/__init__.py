"""Objects of other libraries as instruments: :func:`qmi.hosted`, and what adapters are made of."""

from qmi.hosting.adapter import Adapter, PlainAdapter
from qmi.hosting.awaited import AsyncioAdapter, TrioAdapter
from qmi.hosting.content import Content, HostedChannels, HostedMethod, HostedParameter
from qmi.hosting.instrument import HostedInstrument, hosted_class

__all__ = [
    "Adapter",
    "AsyncioAdapter",
    "Content",
    "HostedChannels",
    "HostedInstrument",
    "HostedMethod",
    "HostedParameter",
    "PlainAdapter",
    "TrioAdapter",
    "hosted_class",
]

for _public in (
    Adapter,
    AsyncioAdapter,
    Content,
    HostedChannels,
    HostedInstrument,
    HostedMethod,
    HostedParameter,
    PlainAdapter,
    TrioAdapter,
):
    _public.__module__ = "qmi.hosting"
