"""A measurement with an instrument of another program; server.py has to run."""

from pathlib import Path
from statistics import fmean, stdev

import qmi
from qmi.utils.context_managers import start_stop

CONFIG = Path(__file__).with_name("qmi.conf")


def main() -> None:
    with start_stop(qmi, "client", CONFIG):
        nsg = qmi.get_instrument("bench.nsg", auto_connect=True)
        # In this block nobody else can use the instrument; whoever had it before is waited for, 5 seconds at most.
        with nsg.locked(timeout=5.0):
            amplitude = nsg.get_amplitude()
            nsg.set_amplitude(10.0)
            samples = [nsg.get_sample() for _ in range(1000)]
            nsg.set_amplitude(amplitude)
        print(f"{len(samples)} samples, mean {fmean(samples):.2f}, standard deviation {stdev(samples):.2f}")


if __name__ == "__main__":
    main()
