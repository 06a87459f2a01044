"""A program that has an instrument and lets other programs use it.

Start it in one terminal, and the client in another one:

    python server.py
    python client.py

Ctrl-C stops the server.
"""

from pathlib import Path

import qmi
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.utils.context_managers import open_close, start_stop

CONFIG = Path(__file__).with_name("qmi.conf")


def main() -> None:
    with start_stop(qmi, "bench", CONFIG):
        nsg = qmi.make_instrument("nsg", NoisySineGenerator)
        with open_close(nsg):
            print("ready; press Ctrl-C to stop", flush=True)
            qmi.context().wait_until_shutdown()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped")
