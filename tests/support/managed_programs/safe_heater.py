"""A program with a heater that says what is safe: ``safe_heater.py RECORD MODE``."""

import sys
import time

import trio

import qmi
from qmi.core.instrument import QMI_Instrument


def record(text: str) -> None:
    with open(sys.argv[1], "a") as file:
        file.write(text + "\n")


class Heater(QMI_Instrument):
    def safe_state(self) -> None:
        record("safe")

    def release_rpc_object(self) -> None:
        record("released")
        super().release_rpc_object()


async def in_trio() -> None:
    async with qmi.open_context("lab", None, console_loglevel="INFO") as context:
        await context.make_instrument("heater", Heater)
        record("on")
        await trio.sleep_forever()


def main() -> None:
    if sys.argv[2] == "trio":
        trio.run(in_trio)
    qmi.start("lab", None, console_loglevel="INFO")
    qmi.make_instrument("heater", Heater)
    record("on")
    if sys.argv[2] == "error":
        raise ValueError("something else")
    if sys.argv[2] == "wait":
        time.sleep(1000)


if __name__ == "__main__":
    main()
