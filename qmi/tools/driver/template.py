"""What ``new`` writes: the text of each file, where ``$package``, ``$driver`` and others stand for what was chosen.

The driver is a real one, of a small power supply, so that the tests of a new package pass at once. A new author
replaces its lines one by one.
"""

from __future__ import annotations

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$distribution"
version = "0.1.0"
description = "A driver for the $title."
readme = "README.md"
requires-python = ">=3.11"
# A driver with a Block, an array of numpy, needs "qmi-trio[numpy]>=$version" here.
dependencies = ["qmi-trio>=$version"]

[project.optional-dependencies]
test = ["pytest>=8"]

# This is how it is found: "from qmi.instruments.$package import $driver" works in every program.
[project.entry-points."qmi.instruments"]
$package = "$package"

[tool.setuptools]
packages = ["$package"]
package-dir = { "" = "." }

[tool.setuptools.package-data]
$package = ["py.typed"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
filterwarnings = ["error"]
"""

_README = """\
# $title

A driver for the $title, to be used with qmi-trio, which is installed first.

```sh
python -m pip install .
```

```python
import qmi
from qmi.instruments.$package import $driver

qmi.start("lab", config_file=None)
supply = qmi.make_instrument("supply", $driver, "tcp:192.168.1.20:5025")
supply.open()
supply.voltage = 5.0
print(supply.current)
supply.close()
qmi.stop()
```

Without the device: `qmi.make_instrument("supply", $driver, simulate=True)`.
All that it can do: [docs/$package.md](docs/$package.md).

## Change it

```sh
python -m pip install -e '.[test]'
python -m pytest
python -m qmi.tools.driver check $package
```
"""

_INIT = '''\
"""A driver for the $title."""

from $package.driver import $driver
from $package.enums import Range
from $package.simulator import ${driver}Simulator

__all__ = ["$driver", "${driver}Simulator", "Range"]
'''

_ENUMS = '''\
"""What the $title calls its choices. The driver and the simulator both import them from here."""

from enum import Enum


class Range(Enum):
    """Range of the output."""

    LOW = "LOW"
    HIGH = "HIGH"
'''

_DRIVER = '''\
"""The driver: what the $title can be told and asked."""

from qmi.core.driver import ScpiInstrument, parameter, rpc_method

from $package.enums import Range
from $package.simulator import ${driver}Simulator


class $driver(ScpiInstrument):
    """The $title, a power supply with one output."""

    simulator = ${driver}Simulator
    TRANSPORT_DEFAULTS = {"port": 5025}  # of the manual, so that "tcp:192.168.1.20" is enough

    # A command without "?" is a setting: "VOLT?" asks for it, "VOLT 5" sets it. One with "?" is only read.
    voltage = parameter("VOLT", float, unit="V", limits=(0, 30), doc="Voltage that the output is set to.")
    voltage_range = parameter("VOLT:RANG", Range, doc="Range of the output: LOW to 8 V, HIGH to 30 V.")
    output = parameter("OUTP", bool, doc="Whether the output is on.")
    current = parameter("MEAS:CURR?", float, unit="A", doc="Current that flows.")

    @rpc_method
    def switch_off(self) -> None:
        """Set the voltage to 0 V and switch the output off."""
        self.voltage = 0.0
        self.output = False
'''

_SIMULATOR = '''\
"""What the $title would answer, for tests and for work without it."""

from qmi.core.driver import Simulator

from $package.enums import Range


class ${driver}Simulator(Simulator):
    """It keeps what is set by itself; what is measured is worked out here.

    A resistor of 50 ohms is connected to the output.
    """

    voltage_range = Range.LOW  # when it is switched on

    def current(self) -> float:
        """What is answered to MEAS:CURR?, in amperes."""
        voltage = min(self.voltage, 8.0) if self.voltage_range is Range.LOW else self.voltage
        return voltage / 50.0 if self.output else 0.0
'''

_TEST = '''\
"""The driver, without the device."""

import pytest
from qmi.core.exceptions import QMI_InvalidValueException
from qmi.testing import check_driver

from $package import $driver, Range


def test_current_flows_while_the_output_is_on(simulated):
    supply = simulated($driver)
    supply.voltage = 5.0
    assert supply.current == 0.0
    supply.output = True
    assert supply.current == pytest.approx(0.1)
    supply.switch_off()
    assert (supply.voltage, supply.output) == (0.0, False)


def test_low_range_goes_up_to_8_volts(simulated):
    supply = simulated($driver)
    supply.voltage = 30.0
    supply.output = True
    assert (supply.voltage_range, supply.current) == (Range.LOW, pytest.approx(0.16))
    supply.voltage_range = Range.HIGH
    assert (supply.voltage_range, supply.current) == (Range.HIGH, pytest.approx(0.6))


def test_voltage_above_the_limit_is_refused(simulated):
    supply = simulated($driver)
    with pytest.raises(QMI_InvalidValueException, match="from 0 to 30 V, got 31.0 V"):
        supply.voltage = 31.0
    assert supply.voltage == 0.0


def test_commands_are_those_of_the_manual(qmi_context, scripted):
    # What must be written, in order, and what is answered. open() sends *CLS.
    device = scripted(["*CLS", "VOLT 5", ("VOLT?", "5.0"), "VOLT:RANG HIGH", "OUTP 1", ("MEAS:CURR?", "0.1")])
    with qmi_context.make_instrument("supply", $driver, device) as supply:
        supply.voltage = 5.0
        assert supply.voltage == 5.0
        supply.voltage_range = Range.HIGH
        supply.output = True
        assert supply.current == 0.1


def test_driver_does_what_every_driver_must():
    check_driver($driver)
'''

_PAGE = """\
# $title

The tables are written by `python -m qmi.tools.driver docs --into docs/$package.md`.

<!-- driver: $package:$driver -->

## $driver

The $title, a power supply with one output.

| parameter | type | unit | range | | command | what it is |
| --- | --- | --- | --- | --- | --- | --- |
| `voltage` | float | V | 0 to 30 | setting | `VOLT` | Voltage that the output is set to. |
| `voltage_range` | Range | | LOW, HIGH | setting | `VOLT:RANG` | Range of the output: LOW to 8 V, HIGH to 30 V. |
| `output` | bool | | | setting | `OUTP` | Whether the output is on. |
| `current` | float | A | | reading | `MEAS:CURR?` | Current that flows. |

| method | what it does |
| --- | --- |
| `switch_off()` | Set the voltage to 0 V and switch the output off. |

As every `ScpiInstrument`, it also has `open()`, `close()`, `get_idn()`, `reset()`, \
`get_errors()`, `write()`, `ask()`, `sig_connection`.

<!-- end of driver -->
"""

_IGNORE = """\
__pycache__/
*.egg-info/
build/
dist/
"""

FILES = {
    "pyproject.toml": _PYPROJECT,
    "README.md": _README,
    ".gitignore": _IGNORE,
    "$package/__init__.py": _INIT,
    "$package/driver.py": _DRIVER,
    "$package/enums.py": _ENUMS,
    "$package/simulator.py": _SIMULATOR,
    "$package/py.typed": "",
    "tests/test_driver.py": _TEST,
    "docs/$package.md": _PAGE,
}
"""Each file, by its path in the folder; names in it are replaced, too."""
