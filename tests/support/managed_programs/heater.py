"""A program whose heater must be switched off: ``heater.py NAME RECORD MODE``."""

import sys
import threading
import time

import qmi
import qmi.runtime.sigint
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method


class Heater(QMI_Instrument):
    @rpc_method
    def close(self) -> None:
        print("switching the heater off", flush=True)
        with open(sys.argv[2], "a") as record:
            record.write("off\n")
        super().close()

    @rpc_method
    def block(self) -> None:
        threading.Event().wait()


def main() -> None:
    name, record, mode = sys.argv[1:]
    qmi.start(name)
    qmi.make_instrument("heater", Heater).open()
    if mode == "stuck":
        qmi.make_instrument("stuck", Heater).rpc_nonblocking.block()
    with open(record, "a") as file:
        file.write("on\n")
    while True:
        try:
            time.sleep(1000)
        except SystemExit:
            if mode != "swallows":
                raise


if __name__ == "__main__":
    if sys.argv[3] == "swallows":
        vars(qmi.runtime.sigint)["PATIENCE"] = 0.2
    main()
