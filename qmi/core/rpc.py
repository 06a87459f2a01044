"""Objects that can be called through proxies."""

from qmi.actors.context_object import RpcObjectDescriptor
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Interface as RpcInterfaceDescriptor
from qmi.actors.interface import Placement, RpcConstantDescriptor, is_rpc_method, rpc_method
from qmi.actors.properties import AsyncProperty, NonblockingProperty
from qmi.actors.proxy import AsyncProxy, QMI_RpcProxy
from qmi.actors.proxy import NonblockingProxy as QMI_RpcNonBlockingProxy
from qmi.actors.pubsub.signal import QMI_RegisteredSignal, QMI_Signal, SignalDescription
from qmi.actors.rpc_object import QMI_RpcObject
from qmi.actors.streams import RpcStream
from qmi.core.exceptions import (
    QMI_MessageDeliveryException,
    QMI_RpcTimeoutException,
    QMI_RuntimeException,
    QMI_UnknownRpcException,
    QMI_UsageException,
)
from qmi.core.thread import QMI_Thread
from qmi.core.util import check_value_structures_equal, is_valid_object_name
from qmi.net.codec.unknown import UnknownTypeValue

__all__ = [
    "AsyncProperty",
    "AsyncProxy",
    "NonblockingProperty",
    "Placement",
    "QMI_MessageDeliveryException",
    "QMI_RegisteredSignal",
    "QMI_RpcFuture",
    "QMI_RpcNonBlockingProxy",
    "QMI_RpcObject",
    "QMI_RpcProxy",
    "QMI_RpcTimeoutException",
    "QMI_RuntimeException",
    "QMI_Signal",
    "QMI_Thread",
    "QMI_UnknownRpcException",
    "QMI_UsageException",
    "RpcConstantDescriptor",
    "RpcInterfaceDescriptor",
    "RpcObjectDescriptor",
    "RpcStream",
    "SignalDescription",
    "UnknownTypeValue",
    "check_value_structures_equal",
    "is_rpc_method",
    "is_valid_object_name",
    "rpc_method",
]
