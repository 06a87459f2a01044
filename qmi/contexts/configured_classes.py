"""Which class a text of the configuration means, and whether the configured arguments fit its constructor."""

from __future__ import annotations

import enum
import importlib
import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from qmi.actors.instrument import QMI_Instrument
from qmi.actors.rpc_object import check_class
from qmi.actors.safe_states import SafeWhen, has_safe_state
from qmi.actors.tasks.restart import RestartRule
from qmi.actors.tasks.runner import QMI_TaskRunner
from qmi.actors.tasks.task import QMI_Task
from qmi.config.schema import CfgContext, CfgInstrument, CfgTask
from qmi.config.structure import path_text
from qmi.config.validators import HOSTED
from qmi.contexts.safe_guard import check_setting
from qmi.errors import QMI_UsageException
from qmi.names import nearest


class Plan(Struct, frozen=True):
    """One object that the configuration lists.

    Attributes:
        name: Its name.
        place: Where it stands in the file: ``contexts.lab.instruments.dmm``.
        category: "instrument" or "task".
        path: Its class as configured.
        args: Further arguments of the constructor.
        kwargs: Further keyword arguments of the constructor.
        begin: Whether it is opened or started when it is made.
        retry: When it is tried again after a failure; None is never.
        restart: When a task that failed is started again; None does as its runner says.
        runner: Class of a task's runner as configured; None is the usual one.
        simulate: Whether an instrument is simulated; None is as the context says.
        simulated: Whether that comes to a simulated one.
        safe: What is set in the safe state of an instrument.
        safe_when: When that is entered; None is as the driver says.
    """

    name: str
    place: str
    category: str
    path: str
    args: Sequence[object]
    kwargs: Mapping[str, object]
    begin: bool
    retry: RestartRule | None = None
    restart: RestartRule | None = None
    runner: str | None = None
    simulate: bool | None = None
    simulated: bool = False
    safe: Mapping[str, object] = field(default_factory=dict)
    safe_when: SafeWhen | None = None

    @property
    def has_safe_state(self) -> bool:
        """Whether the configuration says anything of a safe state."""
        return bool(self.safe) or self.safe_when is not None

    @property
    def is_task(self) -> bool:
        """Whether it is a task."""
        return self.category == "task"


class Loaded(Struct, frozen=True):
    """What a plan comes to: the classes, and the arguments as the constructor takes them.

    Attributes:
        cls: The class of the object, or of the task.
        runner: The class of the task's runner.
        args: As for :class:`Plan`.
        kwargs: As for :class:`Plan`.
    """

    cls: type[object]
    runner: type[QMI_TaskRunner]
    args: tuple[object, ...]
    kwargs: dict[str, object]


RECONNECT = RestartRule(limit=None, window=3600.0, first_delay=1.0, growth=2.0, longest_delay=60.0)
"""When an instrument is tried again that could not be made or opened."""


def plans_of(name: str, context: CfgContext, *, simulate: bool = False) -> list[Plan]:
    """The objects that the configuration of a context lists, instruments first, in the order of the file.

    Args:
        name: The context.
        context: Its configuration.
        simulate: Whether its instruments are simulated where they do not say it themselves.
    """
    instruments = [_instrument(name, key, entry, simulate) for key, entry in context.instruments.items()]
    return instruments + [_task(name, key, entry) for key, entry in context.tasks.items()]


def _instrument(context: str, name: str, entry: CfgInstrument, simulate: bool) -> Plan:
    place = path_text(("contexts", context, "instruments", name))
    retry = RECONNECT if entry.reconnect else None
    when = None
    if (found := entry.safe_when) is not None:
        when = SafeWhen(lock_lost=found.lock_lost, watchdog=found.watchdog, interlock=found.interlock)
    given = (entry.driver or "", entry.args, entry.kwargs, entry.open)
    return Plan(
        name,
        place,
        "instrument",
        *given,
        retry=retry,
        simulate=entry.simulate,
        simulated=simulate if entry.simulate is None else entry.simulate,
        safe=entry.safe,
        safe_when=when,
    )


def _task(context: str, name: str, entry: CfgTask) -> Plan:
    place = path_text(("contexts", context, "tasks", name))
    found = entry.restart
    rule = None
    if found is not None:
        rule = RestartRule(
            limit=found.limit,
            window=found.window,
            first_delay=found.first_delay,
            growth=found.growth,
            longest_delay=found.longest_delay,
        )
    # What could not be made is tried again as one that has failed would be.
    return Plan(name, place, "task", entry.task or "", entry.args, entry.kwargs, entry.start, rule, rule, entry.runner)


def load(plan: Plan) -> Loaded:
    """Import what a plan names. Imports may take seconds: not on the loop.

    Raises:
        QMI_UsageException: If that is not possible, or the arguments do not fit; the text begins with the place.
    """
    try:
        return _load(plan)
    except QMI_UsageException:
        raise
    except Exception as error:
        raise QMI_UsageException(
            f"{plan.place}: {plan.path} cannot be used: {type(error).__name__}: {error}"
        ) from error


def _load(plan: Plan) -> Loaded:
    runner = QMI_TaskRunner
    if plan.is_task:
        cls = _load_class(f"{plan.place}.task", plan.path, QMI_Task, "A task")
        if plan.runner is not None:
            runner = _load_class(f"{plan.place}.runner", plan.runner, QMI_TaskRunner, "The runner of a task")
    else:
        cls = _load_driver(f"{plan.place}.driver", plan.path)
        _check_safe_state(plan, cls)
        _check_simulated(plan, cls)
    args, kwargs = _arguments(plan, cls)
    return Loaded(cls, runner, args, kwargs)


def faults_of(plans: Sequence[Plan]) -> Iterator[tuple[Plan, Loaded | QMI_UsageException]]:
    """What each plan comes to, or what is wrong with it, in the order of the file."""
    for plan in plans:
        try:
            yield plan, load(plan)
        except QMI_UsageException as error:
            yield plan, error


def _check_safe_state(plan: Plan, cls: type[QMI_Instrument]) -> None:
    if plan.path.startswith(HOSTED):
        return  # what such a driver has is known when it is made
    for name, value in plan.safe.items():
        check_setting(cls, name, value, f"{plan.place}.safe.{name}")
    if plan.has_safe_state and not plan.safe and not has_safe_state(cls):
        raise QMI_UsageException(
            f"{plan.place}.safe_when: {cls.__name__} has no safe_state(); say in {plan.place}.safe what is set"
        )


def _check_simulated(plan: Plan, cls: type[QMI_Instrument]) -> None:
    if plan.simulated:
        from qmi.actors.simulated import simulated_class  # only where something is simulated

        try:
            simulated_class(cls, True)
        except QMI_UsageException as error:
            raise QMI_UsageException(f"{plan.place}: {error}") from None


def _load_driver(place: str, path: str) -> type[Any]:
    if not path.startswith(HOSTED):
        return _load_class(place, path, QMI_Instrument, "An instrument")
    from qmi.hosting import hosted_class  # only where something is hosted

    found = _find(place, path.removeprefix(HOSTED))
    try:
        return hosted_class(found)
    except QMI_UsageException as error:
        raise QMI_UsageException(f"{place}: {error}") from None


def _load_class(place: str, path: str, base: type[Any], what: str) -> type[Any]:
    found = _find(place, path)
    try:
        check_class(found, base, what)
    except QMI_UsageException as error:
        raise QMI_UsageException(f"{place}: {error}") from None
    return found  # type: ignore[no-any-return]


def _find(place: str, path: str) -> Any:
    module_name, _, qualified = path.partition(":")
    found: Any = _import(place, module_name)
    seen = module_name
    for part in qualified.split("."):
        inner = getattr(found, part, None)
        if inner is None:
            names = [name for name, value in getattr(found, "__dict__", {}).items() if isinstance(value, type)]
            near = nearest(part, names)
            hint = f". Did you mean {near!r}?" if near else ""
            raise QMI_UsageException(f"{place}: there is no class {part!r} in {seen}{hint}")
        found, seen = inner, f"{seen}.{part}"
    return found


def _import(place: str, name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(missing + "."):
            raise QMI_UsageException(
                f"{place}: there is no module {missing!r}; python_path says where modules are, besides the directory "
                "that the program is started in"
            ) from error
        raise QMI_UsageException(f"{place}: {name} needs the module {missing!r}, which is not installed") from error
    except (SystemExit, Exception) as error:  # a module of the user's: shown as its fault
        raise QMI_UsageException(f"{place}: {name} cannot be imported: {type(error).__name__}: {error}") from error


def _arguments(plan: Plan, cls: type[Any]) -> tuple[tuple[object, ...], dict[str, object]]:
    # The first two are the context, or the runner, and the name.
    given = (None, plan.name, *plan.args)
    try:
        signature = inspect.signature(cls)
    except ValueError:  # a constructor that does not say what it takes
        return tuple(plan.args), dict(plan.kwargs)
    try:
        bound = signature.bind(*given, **plan.kwargs)
    except TypeError as error:
        if plan.simulated and _fit_simulated(plan, cls):
            return tuple(plan.args), dict(plan.kwargs)
        own = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()][2:]
        shown = signature.replace(parameters=own, return_annotation=signature.empty)
        raise QMI_UsageException(
            f"{plan.place}: {cls.__name__}{shown} does not take these arguments: {error}"
        ) from None
    hints = _hints(cls)
    enums = {name: kind for name in bound.arguments if (kind := _enum_in(hints.get(name))) is not None}
    for name, kind in enums.items():
        bound.arguments[name] = _member(plan, name, kind, bound.arguments[name])
    return bound.args[2:], dict(bound.kwargs)


def _fit_simulated(plan: Plan, cls: type[Any]) -> bool:
    """Whether the arguments fit an instrument that is simulated: that may do without a transport."""
    from qmi.actors.simulated import simulated_class

    try:
        inspect.signature(simulated_class(cls, True)).bind(None, plan.name, *plan.args, **plan.kwargs)
    except TypeError:
        return False
    return True


def _hints(cls: type[Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls.__init__)
    except Exception:  # noqa: BLE001 - a name that only a type checker knows; then texts stay texts
        return {}


def _enum_in(hint: object) -> type[enum.Enum] | None:
    kinds = typing.get_args(hint) or (hint,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, enum.Enum)), None)


def _member(plan: Plan, name: str, kind: type[enum.Enum], value: object) -> object:
    """A text for an enum is the name of one of its members, since a file cannot contain the member itself."""
    if not isinstance(value, str) or (issubclass(kind, str) and value in {member.value for member in kind}):
        return value
    if value in kind.__members__:
        return kind[value]
    where = f"{plan.place}.kwargs.{name}" if name in plan.kwargs else f"{plan.place}.args"
    raise QMI_UsageException(f"{where}: expected one of {', '.join(kind.__members__)}, found {value!r}")
