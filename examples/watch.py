"""Tells the service of the oven what to hold, and follows the temperature; service.py has to run."""

import sys
from pathlib import Path

import qmi
from oven import HoldSettings
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.utils.context_managers import start_stop, subscribe_unsubscribe

CONFIG = Path(__file__).with_name("qmi.conf")


def main(target: float) -> None:
    with start_stop(qmi, "watch", CONFIG):
        hold = qmi.get_task("oven_service.hold", auto_connect=True)
        receiver = QMI_SignalReceiver()
        with subscribe_unsubscribe(hold.sig_temperature, receiver):
            hold.set_settings(HoldSettings(target=target))
            for number in range(1, 101):
                temperature, power = receiver.get_next_signal(timeout=5.0).args
                if number % 20 == 0:
                    print(f"{temperature:5.1f} degrees, {power:5.1f} W")
        statistics = hold.get_statistics()
        late = statistics.lateness_median * 1e6
        print(f"{statistics.iterations} iterations, {statistics.missed} missed, median lateness {late:.0f} µs")


if __name__ == "__main__":
    main(target=float(sys.argv[1]) if len(sys.argv) > 1 else 40.0)
