"""An instrument that only programs with a certificate of the laboratory can use.

Make the certificates once, in this directory; then start the server, and the client in another terminal:

    python -m qmi.tools.certs ca
    python -m qmi.tools.certs cert secure_bench --workgroup lab1
    python -m qmi.tools.certs cert secure_client --workgroup lab1
    python server.py
    python client.py
"""

from pathlib import Path

import qmi
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.utils.context_managers import open_close, start_stop

CONFIG = Path(__file__).with_name("qmi.conf")


def main() -> None:
    with start_stop(qmi, "secure_bench", CONFIG):
        nsg = qmi.make_instrument("nsg", NoisySineGenerator)
        with open_close(nsg):
            print("ready; press Ctrl-C to stop", flush=True)
            qmi.context().wait_until_shutdown()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped")
