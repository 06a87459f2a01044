"""A service: a program in the background that holds the temperature of an oven and tells others about it.

Start it in one terminal, and what watches it in another one:

    python -m service
    python watch.py

Or have it started and stopped in the background:

    qmi_proc --config qmi.conf start oven_service
    qmi_proc --config qmi.conf stop oven_service
"""

from pathlib import Path

import qmi
from oven import HoldTemperature, Oven
from qmi.core.task import QMI_LoopTaskMissedLoopPolicy, RestartRule
from qmi.utils.context_managers import open_close, start_stop, start_stop_join

CONFIG = Path(__file__).with_name("qmi.conf")


def main() -> None:
    with start_stop(qmi, "oven_service", CONFIG):
        oven = qmi.make_instrument("oven", Oven)
        with open_close(oven):
            task = qmi.make_task(
                "hold",
                HoldTemperature,
                loop_period=0.02,
                policy=QMI_LoopTaskMissedLoopPolicy.SKIP,
                restart_rule=RestartRule(limit=3, window=60.0),
            )
            with start_stop_join(task):
                print("ready; press Ctrl-C to stop", flush=True)
                qmi.context().wait_until_shutdown()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped")
