"""A context with a thousand signals, of which each was published."""

from __future__ import annotations

import sys
from typing import Any

import qmi
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import rpc_method

OBJECTS, SIGNALS = 10, 100


def publish_all(self: Any) -> None:
    """Publish each signal twice."""
    for value in range(2):
        for number in range(SIGNALS):
            getattr(self, f"sig_{number}").publish(value)


def main(arguments: list[str]) -> None:
    """Be that context, with a configuration, until this is killed."""
    signals = {f"sig_{number}": QMI_Signal([int]) for number in range(SIGNALS)}
    body = {"__module__": __name__, "publish_all": rpc_method(publish_all), **signals}
    many: Any = type("Many", (QMI_Instrument,), body)
    qmi.start("bench", arguments[0])
    for number in range(OBJECTS):
        qmi.make_instrument(f"many{number}", many).publish_all()
    print("{}", flush=True)
    sys.stdin.read()
