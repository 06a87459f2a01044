"""An instrument whose ten values are read ten times a second without anybody asking."""

from __future__ import annotations

import math
import time
from typing import Any

from qmi.core.driver import QMI_Instrument, parameter

PERIOD = 0.1


class Meter(QMI_Instrument):
    """Measures ten voltages."""

    v0 = parameter("V0?", float, unit="V", poll=PERIOD)
    v1 = parameter("V1?", float, unit="V", poll=PERIOD)
    v2 = parameter("V2?", float, unit="V", poll=PERIOD)
    v3 = parameter("V3?", float, unit="V", poll=PERIOD)
    v4 = parameter("V4?", float, unit="V", poll=PERIOD)
    v5 = parameter("V5?", float, unit="V", poll=PERIOD)
    v6 = parameter("V6?", float, unit="V", poll=PERIOD)
    v7 = parameter("V7?", float, unit="V", poll=PERIOD)
    v8 = parameter("V8?", float, unit="V", poll=PERIOD)
    v9 = parameter("V9?", float, unit="V", poll=PERIOD)

    def _read_parameter(self, parameter: Any, channel: Any) -> Any:
        return math.sin(time.monotonic() + int(parameter.ask[1]))
