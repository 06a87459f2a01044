"""What an object offers: declarations in its class, and the descriptor that is made from them.

A descriptor is plain data, so that a proxy in another program knows the methods, their signatures and their
documentation without having the driver's code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partialmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, cast, get_origin, overload

from msgspec import Struct, field
from msgspec.structs import replace

from qmi.errors import QMI_UsageException
from qmi.messages import ENTER_BLOCK, EXIT_BLOCK, GET_PROPERTY, SET_PROPERTY
from qmi.names import ParameterPath, parse_parameter_path
from qmi.records import NamedTuple

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
F = TypeVar("F")

_MARK = "_rpc_method"
_ANSWERED_BY = "_rpc_answered_by"

RESERVED_NAMES = frozenset({"lock", "unlock", "is_locked", "force_unlock", "address", "rpc_nonblocking"})
"""What every proxy has, whatever its driver declares. Anything else that proxies have gives way to a driver's names."""

SPECIAL_METHODS = frozenset(
    {"__enter__", "__exit__", "__aenter__", "__aexit__", "__call__", "__len__", "__getitem__", "__setitem__"}
    | {"__delitem__", "__contains__", "__iter__", "__int__", "__float__"}
)
"""Special methods that a driver may publish. Those of blocks are called by ``with proxy``."""

BLOCK_METHODS = frozenset({"__enter__", "__exit__", "__aenter__", "__aexit__"})

TIMEOUT_NAME = "rpc_timeout"
"""An argument that every method of a proxy takes, so that no method can have it for itself."""


class Placement(Enum):
    """Where the plain methods of an object run."""

    THREAD = "in a thread of the object's own"
    LOOP = "in the event loop"
    CALLER = "in the thread that calls, when the object is idle"


class Kind(Enum):
    """What calling a method gives.

    Attributes:
        is_async: Whether the method runs in the event loop.
        is_stream: Whether the result comes item by item.
    """

    PLAIN = "plain"
    ASYNC = "async"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"

    def __init__(self, name: str) -> None:
        self.is_async: bool = name.startswith("async")
        self.is_stream: bool = name.endswith("generator")


class Parameter(NamedTuple):
    """One parameter of a method; default and annotation as text, None where there is none."""

    name: str
    kind: int
    default: str | None
    annotation: str | None


class Method(Struct, frozen=True):
    """A published method.

    Attributes:
        name: Its name.
        doc: Its documentation.
        parameters: Without ``self``.
        returns: Annotation of the result, as text.
        kind: What calling it gives.
        direct: Answered at once, without waiting for its turn; for methods that only ask or command.
    """

    name: str
    doc: str = ""
    parameters: tuple[Parameter, ...] = ()
    returns: str | None = None
    kind: Kind = Kind.PLAIN
    direct: bool = False


class PropertyInfo(NamedTuple):
    """A property that proxies read and write: its name, the name of its type and its documentation."""

    name: str
    type_name: str
    doc: str = ""


class ParameterBrief(NamedTuple):
    """What proxies need to know of a declared parameter; the rest is asked for.

    Attributes:
        name: Its name.
        type_name: Name of its type.
        doc: Its documentation, with unit and limits.
        unit: Its unit; a quantity is converted to it before it is sent.
        gettable: Whether it can be read.
        settable: Whether it can be set.
        setter: The published method whose first argument is a value of it; empty if there is none.
    """

    name: str
    type_name: str
    doc: str = ""
    unit: str = ""
    gettable: bool = True
    settable: bool = True
    setter: str = ""


class ChannelsBrief(NamedTuple):
    """What proxies need to know of the channels of an object.

    Attributes:
        name: Name of the attribute.
        first: Number of the first channel.
        last: Number of the last one.
        class_name: Full name of their class.
        doc: Its documentation.
        parameters: Its parameters by name.
        methods: Its published methods by name.
    """

    name: str
    first: int
    last: int
    class_name: str
    doc: str
    parameters: Mapping[str, ParameterBrief]
    methods: Mapping[str, Method]


class ParameterInterface(NamedTuple):
    """The parameters of an object, as its proxies know them.

    Attributes:
        own: Those of the object itself, by name.
        channels: Its channels, by name.
        handles: Whether ``proxy.parameters`` has them; not if the driver has given that name to something else.
    """

    own: Mapping[str, ParameterBrief]
    channels: Mapping[str, ChannelsBrief]
    handles: bool = True

    def find(self, path: str) -> ParameterBrief | None:
        """The parameter of a name, that of a channel included: ``"channels[1].voltage"``; None if there is none."""
        parts = parse_parameter_path(path)
        if parts is None or not parts.group:
            return self.own.get(path)
        channels = self.channels.get(parts.group)
        if channels is None or not channels.first <= parts.number <= channels.last:
            return None
        return channels.parameters.get(parts.name)

    def paths(self) -> list[str]:
        """The names of all parameters; those of channels come last."""
        return [
            *self.own,
            *(
                str(ParameterPath(name, channels.name, number))
                for channels in self.channels.values()
                for number in range(channels.first, channels.last + 1)
                for name in channels.parameters
            ),
        ]

    def services(self) -> dict[str, Method]:
        """What proxies call for channels: a method of the object for each of theirs."""
        return {
            service.name: service
            for channels in self.channels.values()
            for service in (channel_service(channels.name, method) for method in channels.methods.values())
        }


class SignalInfo(NamedTuple):
    """A declared signal: its name and the names of its argument types."""

    name: str
    arg_types: tuple[str, ...]


class RpcConstantDescriptor(NamedTuple):
    """A constant of an object: its name and its value."""

    name: str
    value: object


class Interface(Struct, frozen=True, eq=False):
    """All that a proxy needs to know.

    Attributes:
        class_name: Full name of the class.
        doc: Its documentation.
        category: "instrument", "task", "context" or "object".
        methods: The published methods by name.
        constants: Values that proxies show as attributes.
        signals: The declared signals.
        enter: Methods that ``with proxy:`` calls first.
        exit: Methods that it calls at the end.
        properties: Values of the object that proxies read and write as attributes.
        parameters: Its declared parameters, which are among the properties, and those of its channels; None without.
        views: The proxy classes that were made from it.
        local: Whether a constant cannot be sent, so that only proxies of the same program have it; for those that were
            looked at.
        driver: The class itself, in the program that has the object.
        services: What proxies call on their own account: see :data:`qmi.messages.SERVICE_NAMES`.
        fitted: The interfaces of objects that have fewer channels, by the numbers of the last ones.
    """

    class_name: str
    doc: str = ""
    category: str = "object"
    methods: Mapping[str, Method] = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)
    signals: tuple[SignalInfo, ...] = ()
    enter: tuple[str, ...] = ()
    exit: tuple[str, ...] = ()
    properties: Mapping[str, PropertyInfo] = field(default_factory=dict)
    parameters: ParameterInterface | None = None
    local: dict[str, bool] = field(default_factory=dict)
    driver: type | None = None
    services: Mapping[str, Method] = field(default_factory=dict)
    views: dict[type, type] = field(default_factory=dict)
    fitted: dict[tuple[int, ...], Interface] = field(default_factory=dict)

    def _described(self) -> list[tuple[str, object]]:
        """What another program may know: all but what this program has made of it."""
        names = self.__struct_fields__
        return [(name, getattr(self, name)) for name in names[: names.index("local")]]

    def __eq__(self, other: object) -> bool:
        return self._described() == other._described() if isinstance(other, Interface) else NotImplemented

    __hash__: ClassVar[None] = None  # type: ignore[assignment] # of mappings there is none

    def __repr__(self) -> str:
        return f"Interface({', '.join(f'{name}={value!r}' for name, value in self._described())})"

    @property
    def short_name(self) -> str:
        """The name of the class without its module."""
        return self.class_name.rpartition(".")[2]

    # The same under names that scripts read.

    @property
    def rpc_class_module(self) -> str:
        """The module of the class."""
        return self.class_name.rpartition(".")[0]

    @property
    def rpc_class_name(self) -> str:
        """The name of the class without its module."""
        return self.short_name

    @property
    def rpc_class_docstring(self) -> str:
        """The documentation of the class."""
        return self.doc

    @property
    def constant_descriptors(self) -> list[RpcConstantDescriptor]:
        """The constants, one after the other."""
        return [RpcConstantDescriptor(name, value) for name, value in self.constants.items()]


if TYPE_CHECKING:

    class BoundRpcMethod(Generic[P, R_co]):
        """A published method, as a proxy or an object shows it."""

        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
        @overload
        def __call__(self, *args: Any, rpc_timeout: float | None, **kwargs: Any) -> R_co: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Call the method."""

    class RpcMethod(Generic[P, R_co]):
        """What :func:`rpc_method` makes of a method."""

        @overload
        def __get__(self, instance: None, owner: type) -> RpcMethod[P, R_co]: ...
        @overload
        def __get__(self, instance: object, owner: type) -> BoundRpcMethod[P, R_co]: ...
        def __get__(self, instance: Any, owner: type) -> Any: ...
        def __call__(self, instance: Any, *args: P.args, **kwargs: P.kwargs) -> R_co:
            """Call the method of an object."""
            raise NotImplementedError

else:
    RpcMethod = Callable


def rpc_method(
    function: Callable[Concatenate[Any, P], R_co] | None = None,  # of "@rpc_method()", which is refused
) -> RpcMethod[P, R_co]:
    """Publish a method, so that proxies can call it.

    Plain methods may block; ``async def`` methods run in the event loop. A generator's items arrive one by one.

    Args:
        function: The method.
    """
    if function is None:
        raise QMI_UsageException("@rpc_method takes no arguments: write it without parentheses above the method")
    return _mark(function, direct=False)


def published(function: F) -> F:
    """The same as :func:`rpc_method` for methods of the base classes, which keeps their types as they are."""
    return cast("F", _mark(cast("Any", function), direct=False))


def direct_method(function: Callable[Concatenate[Any, P], R_co]) -> RpcMethod[P, R_co]:
    """Publish a method that only asks or commands: it is answered at once, also while another method runs.

    It must be quick and safe in any thread. If it returns a future, the caller gets what that future gets.
    """
    return _mark(function, direct=True)


def answered_by(name: str) -> Callable[[Callable[Concatenate[Any, P], R_co]], RpcMethod[P, R_co]]:
    """Publish a method that waits, without keeping anybody else waiting: proxies get the answer of another method.

    Args:
        name: A method with the same arguments that returns a future at once.
    """

    def publish(function: Callable[Concatenate[Any, P], R_co]) -> RpcMethod[P, R_co]:
        function.__dict__[_ANSWERED_BY] = name
        return _mark(function, direct=True)

    return publish


def answering_name(cls: type, name: str) -> str:
    """The method that answers calls of a direct method."""
    return str(getattr(getattr(cls, name), _ANSWERED_BY, name))


def _mark(function: Callable[Concatenate[Any, P], R_co], direct: bool) -> RpcMethod[P, R_co]:
    underlying: object = function
    if isinstance(underlying, staticmethod | classmethod):
        underlying = underlying.__func__
    elif isinstance(underlying, property):
        underlying = underlying.fget
    if not (_is_method(underlying) and hasattr(underlying, "__dict__")):
        raise QMI_UsageException(f"Only a method can be published; got {function!r}")
    underlying.__dict__[_MARK] = direct
    return cast("RpcMethod[P, R_co]", function)


def _is_method(value: object) -> bool:
    """Whether a value is a method where it stands in a class: a function, or what a decorator has made of one."""
    value = getattr(value, "__func__", value)
    if isinstance(value, partialmethod) or inspect.isfunction(value):
        return True
    # functools.lru_cache and decorators that are classes: called with the object once they are bound to it.
    return callable(value) and not isinstance(value, type) and hasattr(type(value), "__get__")


def is_rpc_method(thing: object) -> bool:
    """Whether a function or method is published."""
    return inspect.isroutine(thing) and _is_marked(thing)


def _is_marked(value: object) -> bool:
    # What stands in a class; staticmethod and classmethod show the attributes of their function only sometimes.
    value = getattr(value, "__func__", value)
    if isinstance(value, partialmethod):
        return _MARK in value.__dict__ or _is_marked(value.func)
    return (inspect.isroutine(value) or _is_method(value)) and hasattr(value, _MARK)


def _mark_of(value: object) -> bool:
    value = getattr(value, "__func__", value)
    if isinstance(value, partialmethod):
        return bool(value.__dict__[_MARK]) if _MARK in value.__dict__ else _mark_of(value.func)
    return bool(getattr(value, _MARK, False))


def method_kind(function: Callable[..., object]) -> Kind:
    """What calling the function gives."""
    plain: object = getattr(function, "__func__", function)
    while isinstance(plain, partialmethod):
        plain = plain.func
    if inspect.isasyncgenfunction(plain):
        return Kind.ASYNC_GENERATOR
    if inspect.iscoroutinefunction(plain):
        return Kind.ASYNC
    return Kind.GENERATOR if inspect.isgeneratorfunction(plain) else Kind.PLAIN


def describe_method(name: str, function: Callable[..., object], cls: type | None = None) -> Method:
    """Describe one published method.

    Args:
        name: Its name.
        function: The method as its class has it.
        cls: The class, for messages.

    Raises:
        QMI_UsageException: If it has an argument of a name that every proxy needs for itself, or no argument for the
            object that it is called on.
    """
    where = f"{cls.__qualname__}.{name}" if cls is not None else getattr(function, "__qualname__", name)
    signature = _signature_of(where, function)
    parameters = _parameters_of(where, function, signature)
    if any(parameter.name == TIMEOUT_NAME for parameter in parameters):
        raise QMI_UsageException(
            f"{where}() cannot be published: its argument {TIMEOUT_NAME!r} belongs to the proxies, "
            "which give each method one. Rename it"
        )
    plain: object = getattr(function, "__func__", function)
    return Method(
        name=name,
        doc=inspect.getdoc(plain.func if isinstance(plain, partialmethod) else plain) or "",
        parameters=tuple(
            Parameter(
                parameter.name,
                int(parameter.kind),
                None if parameter.default is parameter.empty else _default_text(parameter.default),
                _annotation_text(parameter.annotation),
            )
            for parameter in parameters
        ),
        returns=_annotation_text(signature.return_annotation),
        kind=method_kind(function),
        direct=_mark_of(function),
    )


def _parameters_of(
    where: str, function: Callable[..., object], signature: inspect.Signature
) -> list[inspect.Parameter]:
    """The parameters that a caller fills in: all but the object (or the class) itself."""
    parameters = list(signature.parameters.values())
    if isinstance(function, staticmethod):
        return parameters
    if parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return parameters
    if parameters and _is_value(parameters[0]):
        raise QMI_UsageException(
            f"{where}() cannot be published: its first argument, {parameters[0].name!r}, is the object that it is "
            "called on. Write 'self' before it, or make it a @staticmethod"
        )
    if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
        raise QMI_UsageException(
            f"{where}() cannot be published: it takes no argument for the object that it is called on. "
            "Write 'self' as its first one, or make it a @staticmethod"
        )
    return parameters[1:]


_TYPES_OF_VALUES = (int, float, bool, str, bytes, complex, list, tuple, dict, set)
_NAMES_OF_VALUES = frozenset(kind.__name__ for kind in _TYPES_OF_VALUES)


def _is_value(first: inspect.Parameter) -> bool:
    """Whether the first parameter is meant for a value, so that ``self`` was forgotten before it."""
    if first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        return False
    annotation: object = get_origin(first.annotation) or first.annotation
    if isinstance(annotation, str):
        return annotation.partition("[")[0].strip() in _NAMES_OF_VALUES
    return annotation in _TYPES_OF_VALUES or first.default is not first.empty


def _signature_of(where: str, function: Callable[..., object]) -> inspect.Signature:
    """The signature of a method as it is written, the object that it is called on included."""
    function = getattr(function, "__func__", function)
    try:
        if isinstance(function, partialmethod):
            return inspect.signature(function.__get__(None, object))  # the object comes first, as in a function
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise QMI_UsageException(f"{where}() cannot be published: it has no signature ({error})") from error


def _default_text(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - the repr of a user's class fails: its place is kept all the same
        return f"<{type(value).__name__}>"


def _annotation_text(annotation: object) -> str | None:
    if annotation is inspect.Parameter.empty:
        return None
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def published_functions(cls: type, names: Iterable[str] | None = None) -> dict[str, Callable[..., object]]:
    """The published methods of a class by name; an override counts as published if what it overrides is.

    They are as the class has them: functions, or a ``staticmethod``, ``classmethod`` or ``partialmethod``. A published
    ``property`` is not among them, see :func:`properties_of`.

    Args:
        cls: The class.
        names: Those to look at; None is all.

    Raises:
        QMI_UsageException: If a method has a name that every proxy needs for itself.
    """
    found: dict[str, Callable[..., object]] = {}
    for name in dir(cls) if names is None else names:
        function: object = inspect.getattr_static(cls, name, None)
        if not (
            inspect.isfunction(function) or isinstance(function, staticmethod | classmethod) or _is_method(function)
        ):
            continue
        marked = next((vars(base)[name] for base in cls.__mro__ if _is_marked(vars(base).get(name))), None)
        if marked is None:
            continue
        _check_name(cls, name, "method")
        found[name] = cast("Callable[..., object]", function)
        if function is not marked and not _is_marked(function):
            underlying = getattr(function, "__func__", function)
            if hasattr(underlying, "__dict__"):
                underlying.__dict__.setdefault(_MARK, _mark_of(marked))
    return found


def _check_name(cls: type, name: str, what: str) -> None:
    """Refuse a name that a proxy cannot show.

    Raises:
        QMI_UsageException: Saying whose name it is.
    """
    shown = f"{cls.__qualname__}.{name}()" if what == "method" else f"{what.capitalize()} {cls.__qualname__}.{name}"
    if name in RESERVED_NAMES:
        raise QMI_UsageException(f"{shown} cannot be published: proxies have a {name!r} of their own. Rename it")
    if name.startswith("__") and not (what == "method" and name in SPECIAL_METHODS):
        raise QMI_UsageException(f"{shown} cannot be published: names that begin with two underscores are Python's own")


def check_signal_name(cls: type, name: str) -> None:
    """Refuse a signal whose name a proxy cannot show.

    Raises:
        QMI_UsageException: Saying whose name it is.
    """
    _check_name(cls, name, "signal")


def _declared_names(cls: type, attribute: str) -> list[str]:
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        declared = vars(base).get(attribute, ())
        if isinstance(declared, str):
            raise QMI_UsageException(
                f"{base.__qualname__}.{attribute} is a list or set of names; got the text {declared!r}. "
                f"Write [{declared!r}]"
            )
        for name in sorted(declared) if isinstance(declared, set | frozenset) else declared:
            if not isinstance(name, str):
                raise QMI_UsageException(f"{base.__qualname__}.{attribute} holds names; got {name!r}")
            names[name] = None
    return list(names)


def _check_value(cls: type, name: str, where: str) -> None:
    """Refuse the name of something that is no value of the class.

    Raises:
        QMI_UsageException: Saying what it is instead.
    """
    what = f"{cls.__qualname__}.{where} names {name!r}"
    try:
        found = inspect.getattr_static(cls, name)
    except AttributeError:
        raise QMI_UsageException(f"{what}, which the class lacks; give it a value in the class: {name} = ...") from None
    if isinstance(found, property):
        raise QMI_UsageException(f"{what}, which is a Python property; write @rpc_method below its @property instead")
    if _is_method(found) or isinstance(found, staticmethod | classmethod):
        hint = f"take it out of {where}" if _is_marked(found) else "publish it with @rpc_method"
        raise QMI_UsageException(f"{what}, which is a method and no value; {hint}")
    if hasattr(found, "__get__"):
        raise QMI_UsageException(f"{what}, which is no value but a {type(found).__name__}")


def constants_of(cls: type) -> dict[str, object]:
    """The constants that proxies show, by name.

    Raises:
        QMI_UsageException: If a declared constant does not exist, or has a name that proxies cannot show.
    """
    constants: dict[str, object] = {}
    for name in _declared_names(cls, "_rpc_constants"):
        _check_name(cls, name, "constant")
        _check_value(cls, name, "_rpc_constants")
        constants[name] = getattr(cls, name)
    return constants


def properties_of(cls: type) -> dict[str, PropertyInfo]:
    """The values that proxies read and write, by name: those in ``_rpc_properties``, and each published ``property``.

    As for methods, an override counts as published if what it overrides is.

    Raises:
        QMI_UsageException: If a declared property does not exist, or has a name that proxies cannot show.
    """
    names = _declared_names(cls, "_rpc_properties")
    marked = {name for base in cls.__mro__ for name, value in vars(base).items() if _is_marked_property(value)}
    for name in sorted(marked):
        found = inspect.getattr_static(cls, name)
        # An override of another kind gives the name up, unless it is a value: then it is listed for what it is.
        if name not in names and (isinstance(found, property) or not hasattr(found, "__get__")):
            names.append(name)
    properties: dict[str, PropertyInfo] = {}
    for name in names:
        _check_name(cls, name, "property")
        value = inspect.getattr_static(cls, name, None)
        if name in marked and isinstance(value, property) and value.fget is not None:
            annotation = inspect.signature(value.fget).return_annotation
            properties[name] = PropertyInfo(name, _annotation_text(annotation) or "Any", inspect.getdoc(value) or "")
            continue
        _check_value(cls, name, "_rpc_properties")
        properties[name] = PropertyInfo(name, type(value).__name__)
    return properties


def _is_marked_property(value: object) -> bool:
    return isinstance(value, property) and value.fget is not None and _is_marked(value.fget)


def full_name(cls: type) -> str:
    """Module and name of a class, as users import it."""
    return f"{cls.__module__}.{cls.__qualname__}"


def describe_class(
    cls: type,
    *,
    category: str = "object",
    signals: tuple[SignalInfo, ...] = (),
    enter: tuple[str, ...] = (),
    exit: tuple[str, ...] = (),  # noqa: A002 - the pair of enter
    parameters: ParameterInterface | None = None,
) -> Interface:
    """Make the descriptor of a class.

    Args:
        cls: The class.
        category: "instrument", "task", "context" or "object".
        signals: The signals that it declares.
        enter: Methods that ``with proxy:`` calls first.
        exit: Methods that it calls at the end.
        parameters: The parameters that it declares; None if there are none.

    Raises:
        QMI_UsageException: If a declaration cannot be met.
    """
    functions = published_functions(cls)
    block = _block_services(functions)
    methods = {
        name: describe_method(name, function, cls) for name, function in functions.items() if name not in BLOCK_METHODS
    }
    constants, properties = constants_of(cls), properties_of(cls)
    if parameters is not None:
        properties.update({brief.name: PropertyInfo(*brief[:3]) for brief in parameters.own.values()})
        block.update(parameters.services(), **PROPERTY_SERVICES)
    for signal in signals:
        check_signal_name(cls, signal.name)
    if both := set(constants) & set(properties):
        names = ", ".join(sorted(both))
        raise QMI_UsageException(
            f"{cls.__qualname__} declares {names} as a constant and as a property; it is one of them"
        )
    return Interface(
        class_name=full_name(cls),
        doc=inspect.getdoc(cls) or "",
        category=category,
        methods=MappingProxyType(methods),
        constants=MappingProxyType(constants),
        signals=signals,
        enter=(ENTER_BLOCK,) if ENTER_BLOCK in block else enter,
        exit=(EXIT_BLOCK,) if EXIT_BLOCK in block else exit,
        properties=MappingProxyType(properties),
        parameters=parameters,
        driver=cls,
        services=MappingProxyType(block | (PROPERTY_SERVICES if properties else {})),
    )


def block_method(functions: Mapping[str, object], leaving: bool) -> str | None:
    """The method of the driver's own that ``with proxy:`` calls on the object at either end; None if it has none.

    Args:
        functions: The published methods of the class.
        leaving: Whether it is for the end of the block.
    """
    for name in ("__exit__", "__aexit__") if leaving else ("__enter__", "__aenter__"):
        function = functions.get(name)
        if function is not None and not _module_of(function).startswith("qmi.actors."):
            return name
    return None


def _block_services(functions: Mapping[str, Callable[..., object]]) -> dict[str, Method]:
    found = {ENTER_BLOCK: block_method(functions, False), EXIT_BLOCK: block_method(functions, True)}
    return {
        service: Method(service, kind=method_kind(functions[name]))
        for service, name in found.items()
        if name is not None
    }


def channel_service(channels: str, method: Method) -> Method:
    """The method of an object that does what a method of one of its channels does; its first argument is the number."""
    return replace(method, name=service_name(channels, method.name))


def service_name(channels: str, method: str) -> str:
    """The name of what :func:`channel_service` gives; ``help()`` leaves names out that begin with an underscore."""
    return f"_{channels}.{method}"


PROPERTY_SERVICES = {name: Method(name) for name in (GET_PROPERTY, SET_PROPERTY)}
BLOCK_SERVICES = {name: Method(name) for name in (ENTER_BLOCK, EXIT_BLOCK)}


def placement_of(cls: type, base_modules: tuple[str, ...]) -> Placement:
    """Where the plain methods of a class run, unless the class says so itself.

    A class whose own published methods are all ``async`` needs no thread. What the base classes of this library add
    (``open``, ``is_open``, ...) is quick and runs in the loop as well.

    Args:
        cls: The class.
        base_modules: Modules whose methods do not count.
    """
    declared = getattr(cls, "_rpc_placement", None)
    if isinstance(declared, Placement):
        return declared
    own = [function for function in published_functions(cls).values() if _module_of(function) not in base_modules]
    if own and all(method_kind(function).is_async for function in own):
        return Placement.LOOP
    return Placement.THREAD


def _module_of(function: object) -> str:
    function = getattr(function, "__func__", function)
    while isinstance(function, partialmethod):
        function = function.func
    return str(function.__module__)


for _public in (Placement, RpcConstantDescriptor, rpc_method, is_rpc_method):
    _public.__module__ = "qmi.core.rpc"
