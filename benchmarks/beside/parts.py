"""What the other processes of an experiment do.

parts.py serve PORT | lock PORT | stop_while_stuck
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from devices import Device  # type: ignore[import-not-found,unused-ignore]
from stage import server_config  # type: ignore[import-not-found,unused-ignore]

from qmi.core.config_defs import CfgQmi
from qmi.core.context import QMI_Context


def serve(port: str) -> None:
    context = QMI_Context("srv", server_config(int(port)))
    context.start()
    context.make_instrument("dev", Device)
    context.make_instrument("dev2", Device)
    print("ready", flush=True)
    sys.stdin.read()


def lock(port: str) -> None:
    context = QMI_Context("holder", CfgQmi())
    context.start()
    context.connect_to_peer("srv", f"127.0.0.1:{port}")
    print(context.get_rpc_object_by_name("srv.dev").lock(), flush=True)
    sys.stdin.read()


def stop_while_stuck() -> None:
    context = QMI_Context("stuck")
    context.start()
    device = context.make_instrument("dev", Device)
    device.rpc_nonblocking.block(60.0)
    time.sleep(0.3)
    print("stopping", flush=True)
    began = time.monotonic()
    context.stop()
    print(f"{time.monotonic() - began:.1f}", flush=True)


if __name__ == "__main__":
    parts: dict[str, Callable[..., None]] = {"serve": serve, "lock": lock, "stop_while_stuck": stop_while_stuck}
    parts[sys.argv[1]](*sys.argv[2:])
