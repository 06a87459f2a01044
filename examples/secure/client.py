"""Uses the instrument of secure/server.py, which has to run; both prove who they are by certificates."""

from pathlib import Path

import qmi
from qmi.utils.context_managers import start_stop

CONFIG = Path(__file__).with_name("qmi.conf")


def main() -> None:
    with start_stop(qmi, "secure_client", CONFIG):
        nsg = qmi.get_instrument("secure_bench.nsg", auto_connect=True)
        print(f"a sample over TLS: {nsg.get_sample():.2f}")


if __name__ == "__main__":
    main()
