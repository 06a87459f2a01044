"""Which class the configuration names, whether its arguments fit, and how all faults are shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from qmi.config.schema import CfgContext, CfgInstrument, CfgRestart, CfgTask
from qmi.contexts.configured_classes import RECONNECT, Loaded, faults_of, load, plans_of
from qmi.core.config_defs import CfgQmi
from qmi.core.exceptions import QMI_UsageException
from qmi.core.task import QMI_TaskRunner, RestartRule
from tests.support.configured import HERE, Meter, Mode, Watch


def instrument(driver: str, *args: object, **kwargs: object) -> CfgContext:
    return CfgContext(instruments={"dmm": CfgInstrument(driver=driver, args=list(args), kwargs=kwargs)})


def task(name: str, **settings: Any) -> CfgContext:
    return CfgContext(tasks={"watch": CfgTask(task=name, **settings)})


def loaded(context: CfgContext) -> Loaded:
    [plan] = plans_of("lab", context)
    return load(plan)


@pytest.mark.parametrize(
    ("driver", "args", "kwargs", "fault"),
    [
        ("no_such_package.meter:Meter", [], {}, ".driver: there is no module 'no_such_package'; python_path says"),
        ("tests.no_such_module:Meter", [], {}, ".driver: there is no module 'tests.no_such_module'"),
        (
            f"{HERE}:Metre",
            [],
            {},
            f".driver: there is no class 'Metre' in {HERE}. Did you mean 'Meter'",
        ),
        (f"{HERE}:Meter.Inner", [], {}, ".driver: there is no class 'Inner' in tests.support.configured.Meter"),
        (f"{HERE}:NoDriver", [], {}, ".driver: An instrument is made from a class derived from QMI_Instrument; got"),
        (f"{HERE}:Watch", [], {}, ".driver: An instrument is made from a class derived from QMI_Instrument; got"),
        (f"{HERE}:HERE", [], {}, ".driver: An instrument is made from a class derived from QMI_Instrument; got"),
        (f"{HERE}:Meter", [1, 2, 3], {}, ": Meter(there='', *, mode=<Mode.FAST: 1>) does not take"),
        (f"{HERE}:Meter", [], {"adress": 1}, "these arguments: got an unexpected keyword argument 'adress'"),
        (f"{HERE}:Meter", [], {"replace": True}, "these arguments: got an unexpected keyword argument 'replace'"),
        (
            f"hosted:{HERE}:Meter",
            [],
            {},
            ".driver: Meter is a driver of this library: give it to",
        ),
        ("hosted:no_such_package.meter:Meter", [], {}, ".driver: there is no module 'no_such_package'; python_path"),
        (
            "hosted:tests.support.hosted:Pso",
            [],
            {},
            ".driver: there is no class 'Pso' in tests.support.hosted. Did",
        ),
        (f"{HERE}:Meter", [], {"mode": "QUICK"}, ".kwargs.mode: expected one of FAST, SLOW, found 'QUICK'"),
    ],
)
def test_configured_driver_that_cannot_be_made_is_named_with_its_place(
    driver: str, args: list[object], kwargs: dict[str, object], fault: str
) -> None:
    with pytest.raises(QMI_UsageException) as caught:
        loaded(instrument(driver, *args, **kwargs))
    assert str(caught.value).startswith("contexts.lab.instruments.dmm")
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import no_vendor_library", "broken_driver needs the module 'no_vendor_library', which is not installed"),
        ("1/0", "broken_driver cannot be imported: ZeroDivisionError: division by zero"),
        ("raise SystemExit('no licence')", "broken_driver cannot be imported: SystemExit: no licence"),
        ("class", "broken_driver cannot be imported: SyntaxError"),
    ],
)
def test_configured_driver_whose_module_fails_is_named(
    text: str, fault: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "broken_driver.py").write_text(text)
    monkeypatch.syspath_prepend(home)
    monkeypatch.delitem(sys.modules, "broken_driver", raising=False)
    with pytest.raises(QMI_UsageException, match=r"contexts\.lab\.instruments\.dmm\.driver: ") as caught:
        loaded(instrument("broken_driver:Meter"))
    assert fault in str(caught.value)


@pytest.mark.parametrize(("args", "kwargs"), [(["x"], {"mode": "SLOW"}), ([], {"there": "x", "mode": "SLOW"})])
def test_configured_arguments_reach_the_constructor_as_its_types(args: list[object], kwargs: dict[str, object]) -> None:
    found = loaded(instrument(f"{HERE}:Meter", *args, **kwargs))
    assert found.cls is Meter
    given = dict(zip(["there"], found.args, strict=False)) | found.kwargs
    assert given == {"there": "x", "mode": Mode.SLOW}


def test_configured_task_has_its_runner_and_its_rule() -> None:
    found = loaded(task(f"{HERE}:Watch", kwargs={"failures": 2}))
    assert (found.cls, found.runner) == (Watch, QMI_TaskRunner)
    [plan] = plans_of("lab", task(f"{HERE}:Watch", restart=CfgRestart(limit=None, first_delay=1.0)))
    assert plan.restart == RestartRule(limit=None, first_delay=1.0)
    with pytest.raises(QMI_UsageException, match=r"contexts\.lab\.tasks\.watch\.runner: The runner of a task is made"):
        loaded(task(f"{HERE}:Watch", runner=f"{HERE}:Meter"))


def test_configured_faults_are_all_listed_in_the_order_of_the_file() -> None:
    context = CfgContext(
        instruments={
            "one": CfgInstrument(driver="no_such:A"),
            "two": CfgInstrument(driver=f"{HERE}:Meter"),
            "three": CfgInstrument(driver=f"{HERE}:NoDriver"),
        },
        tasks={"four": CfgTask(task=f"{HERE}:Meter")},
    )
    found = [(plan.name, type(result)) for plan, result in faults_of(plans_of("lab", context))]
    assert found == [
        ("one", QMI_UsageException), ("two", Loaded), ("three", QMI_UsageException), ("four", QMI_UsageException)
    ]  # fmt: skip


def test_reconnect_never_gives_up() -> None:
    [plan] = plans_of("lab", CfgContext(instruments={"a": CfgInstrument(driver="m:A", reconnect=True)}))
    assert plan.retry is RECONNECT
    assert (RECONNECT.limit, RECONNECT.longest_delay) == (None, 60.0)
    assert CfgQmi(contexts={"lab": CfgContext()}).contexts["lab"].program is None
