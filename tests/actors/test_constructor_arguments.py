"""What somebody reads who makes an object with arguments that its constructor does not take."""

from __future__ import annotations

import re
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.core.driver import ScpiInstrument, parameter
from qmi.core.exceptions import QMI_TaskInitException
from qmi.core.instrument import QMI_Instrument
from qmi.core.task import QMI_LoopTask


class Supply(ScpiInstrument):
    """A driver without a constructor of its own."""

    voltage = parameter("VOLT", float, unit="V", limits=(0, 30), doc="Voltage that is set")


class Handing(ScpiInstrument):
    """One that hands on what it does not know."""

    def __init__(self, context: Any, name: str, transport: Any, **options: Any) -> None:
        super().__init__(context, name, transport, **options)


class Lamp(QMI_Instrument):
    """One with arguments of its own."""

    def __init__(self, context: Any, name: str, power: float, *, colour: str = "red") -> None:
        super().__init__(context, name)
        if power < 0:
            raise TypeError("power is not like that")
        self.text = power + colour if power > 100 else ""  # type: ignore[operator]


@pytest.mark.parametrize(
    ("cls", "args", "kwargs", "said"),
    [
        (
            Supply,
            (),
            {},
            "'x' cannot be made: missing a required argument: 'transport'. It is made by Supply(transport, ",
        ),
        (
            Supply,
            ("tcp:a",),
            {"simulated": True},
            "argument 'simulated'; did you mean 'simulate'? It is made by Supply(",
        ),
        (Supply, ("tcp:a",), {"chek_errors": True}, "argument 'chek_errors'; did you mean 'check_errors'?"),
        (
            Supply,
            ("tcp:a", 1, 2),
            {},
            "'x' cannot be made: too many positional arguments. It is made by Supply(transport",
        ),
        (
            Handing,
            ("tcp:a",),
            {"simulated": True},
            "argument 'simulated'; did you mean 'simulate'? It is made by Handing(",
        ),
        (Handing, ("tcp:a",), {"repalce": True}, "argument 'repalce'; did you mean 'replace'?"),
        (Lamp, (), {}, "missing a required argument: 'power'. It is made by Lamp(power, *, colour='red')"),
        (Lamp, (1.0, "green"), {}, "too many positional arguments. It is made by Lamp(power, *, colour='red')"),
        (Lamp, (1.0,), {"color": "green"}, "argument 'color'; did you mean 'colour'?"),
        (
            Lamp,
            (1.0,),
            {"power": 2.0},
            "multiple values for argument 'power'. It is made by Lamp(power, *, colour='red')",
        ),
    ],
)
def test_constructor_says_what_it_takes(
    lab: QMI_Context, cls: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(said)):
        lab.make_instrument("x", cls, *args, **kwargs)
    lab.make_instrument("x", Lamp, 1.0)  # the name is free again


class Hold(QMI_LoopTask[Any, Any]):
    """A loop with an argument of its own."""

    def __init__(self, task_runner: Any, name: str, target: float, **loop: Any) -> None:
        super().__init__(task_runner, name, **loop)


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "missing a required argument: 'target'. It is made by Hold(target, **loop)"),
        ((1.0,), {"loop_perid": 1.0}, "argument 'loop_perid'"),
        ((1.0, 2.0), {}, "too many positional arguments. It is made by Hold(target, **loop)"),
    ],
)
def test_constructor_of_a_task_says_what_it_takes(
    lab: QMI_Context, args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(QMI_TaskInitException, match=re.escape(said)):
        lab.make_task("x", Hold, *args, **kwargs)


@pytest.mark.parametrize(("power", "said"), [(-1.0, "^power is not like that$"), (200.0, "^unsupported operand type")])
def test_type_error_within_a_constructor_stays_as_it_is(lab: QMI_Context, power: float, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        lab.make_instrument("x", Lamp, power)
