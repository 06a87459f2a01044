"""Objects that can be called through proxies."""

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Placement, is_rpc_method, rpc_method
from qmi.actors.proxy import AsyncProxy, QMI_RpcProxy
from qmi.actors.rpc_object import QMI_RpcObject
from qmi.actors.streams import RpcStream

__all__ = [
    "AsyncProxy",
    "Placement",
    "QMI_RpcFuture",
    "QMI_RpcObject",
    "QMI_RpcProxy",
    "RpcStream",
    "is_rpc_method",
    "rpc_method",
]
