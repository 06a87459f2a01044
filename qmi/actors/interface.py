"""What an object offers: declarations in its class, and the descriptor that is made from them.

A descriptor is plain data, so that a proxy in another program knows the methods, their signatures and their
documentation without having the driver's code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, cast, overload

from qmi.errors import QMI_UsageException
from qmi.names import nearest

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

_MARK = "_rpc_method"
_ANSWERED_BY = "_rpc_answered_by"

PROXY_NAMES = frozenset(
    {"address", "rpc_nonblocking", "rpc_async", "rpc_blocking", "call"}
    | {"lock", "unlock", "is_locked", "force_unlock", "locked"}
    | {"_rpc", "_rpc_interface", "_describe", "_wait", "_acquire"}
)
"""What every proxy has; an object cannot publish a method of such a name."""

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


@dataclass(frozen=True, slots=True)
class Method:
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


class SignalInfo(NamedTuple):
    """A declared signal: its name and the names of its argument types."""

    name: str
    arg_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interface:
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
        views: The proxy classes that were made from it.
    """

    class_name: str
    doc: str = ""
    category: str = "object"
    methods: Mapping[str, Method] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    signals: tuple[SignalInfo, ...] = ()
    enter: tuple[str, ...] = ()
    exit: tuple[str, ...] = ()
    views: dict[type, type] = field(default_factory=dict, compare=False, repr=False)

    @property
    def short_name(self) -> str:
        """The name of the class without its module."""
        return self.class_name.rpartition(".")[2]


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


def rpc_method(function: Callable[Concatenate[Any, P], R_co]) -> RpcMethod[P, R_co]:
    """Publish a method, so that proxies can call it.

    Plain methods may block; ``async def`` methods run in the event loop. A generator's items arrive one by one.

    Args:
        function: The method.
    """
    return _mark(function, direct=False)


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
    if not inspect.isfunction(function):
        raise QMI_UsageException(f"Only a method can be published; got {function!r}")
    function.__dict__[_MARK] = direct
    return cast("RpcMethod[P, R_co]", function)


def is_rpc_method(thing: object) -> bool:
    """Whether a function or method is published."""
    return inspect.isroutine(thing) and hasattr(thing, _MARK)


def method_kind(function: Callable[..., Any]) -> Kind:
    """What calling the function gives."""
    if inspect.isasyncgenfunction(function):
        return Kind.ASYNC_GENERATOR
    if inspect.iscoroutinefunction(function):
        return Kind.ASYNC
    return Kind.GENERATOR if inspect.isgeneratorfunction(function) else Kind.PLAIN


def describe_method(name: str, function: Callable[..., Any]) -> Method:
    """Describe one published method.

    Raises:
        QMI_UsageException: If it has an argument of a name that every proxy needs for itself.
    """
    signature = inspect.signature(function)
    if TIMEOUT_NAME in signature.parameters:
        raise QMI_UsageException(
            f"{function.__qualname__}() cannot be published: its argument {TIMEOUT_NAME!r} belongs to the proxies, "
            "which give each method one. Rename it"
        )
    parameters = tuple(
        Parameter(
            parameter.name,
            int(parameter.kind),
            None if parameter.default is parameter.empty else repr(parameter.default),
            _annotation_text(parameter.annotation),
        )
        for parameter in list(signature.parameters.values())[1:]
    )
    return Method(
        name=name,
        doc=inspect.getdoc(function) or "",
        parameters=parameters,
        returns=_annotation_text(signature.return_annotation),
        kind=method_kind(function),
        direct=bool(getattr(function, _MARK, False)),
    )


def _annotation_text(annotation: Any) -> str | None:
    if annotation is inspect.Parameter.empty:
        return None
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def published_functions(cls: type) -> dict[str, Callable[..., Any]]:
    """The published methods of a class by name; an override counts as published if what it overrides is.

    Raises:
        QMI_UsageException: If a method has a name that every proxy needs for itself.
    """
    found: dict[str, Callable[..., Any]] = {}
    for name in dir(cls):
        function = inspect.getattr_static(cls, name)
        if not inspect.isfunction(function):
            continue
        marked = next((vars(base)[name] for base in cls.__mro__ if is_rpc_method(vars(base).get(name))), None)
        if marked is None:
            continue
        if name in PROXY_NAMES or name.startswith("__"):
            raise QMI_UsageException(
                f"{cls.__qualname__}.{name}() cannot be published: proxies have a {name!r} of their own. Rename it"
            )
        found[name] = function
        if function is not marked:
            function.__dict__.setdefault(_MARK, getattr(marked, _MARK))
    return found


def constants_of(cls: type) -> dict[str, Any]:
    """The constants that proxies show, by name.

    Raises:
        QMI_UsageException: If a declared constant does not exist.
    """
    constants: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name in vars(base).get("_rpc_constants", ()):
            if not hasattr(cls, name):
                raise QMI_UsageException(f"{cls.__qualname__}._rpc_constants names {name!r}, which the class lacks")
            constants[name] = getattr(cls, name)
    return constants


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
) -> Interface:
    """Make the descriptor of a class.

    Raises:
        QMI_UsageException: If a declaration cannot be met.
    """
    methods = {name: describe_method(name, function) for name, function in published_functions(cls).items()}
    return Interface(
        class_name=full_name(cls),
        doc=inspect.getdoc(cls) or "",
        category=category,
        methods=MappingProxyType(methods),
        constants=MappingProxyType(constants_of(cls)),
        signals=signals,
        enter=enter,
        exit=exit,
    )


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
    own = [function for function in published_functions(cls).values() if function.__module__ not in base_modules]
    if own and all(method_kind(function).is_async for function in own):
        return Placement.LOOP
    return Placement.THREAD


class Source:
    """A default value or annotation that is shown as it was written."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def signature_parameters(method: Method) -> list[inspect.Parameter]:
    """The parameters of a method, to make a signature of.

    Raises:
        ValueError: If they do not make one.
    """
    empty = inspect.Parameter.empty
    parameters = [
        inspect.Parameter(
            parameter.name,
            inspect._ParameterKind(parameter.kind),
            default=empty if parameter.default is None else Source(parameter.default),
            annotation=empty if parameter.annotation is None else Source(parameter.annotation),
        )
        for parameter in method.parameters
    ]
    inspect.Signature(parameters)
    return parameters


def unknown_method(interface: Interface, where: str, name: str, unpublished: bool) -> str:
    """The message for a name that an object does not offer, with the nearest one that it does.

    Args:
        interface: What the object offers.
        where: Its address.
        name: What was asked for.
        unpublished: Whether its class has such a method all the same.
    """
    text = f"{interface.short_name} {where} has no published method {name!r}"
    if unpublished:
        text += "; the class has it, but without @rpc_method"
    near = nearest(name, [*interface.methods, *interface.constants])
    return f"{text}. Did you mean {near!r}?" if near else text


for _public in (Placement, rpc_method, is_rpc_method):
    _public.__module__ = "qmi.core.rpc"
