"""What a person sees of a proxy class: signatures as they were written, and a ``help()`` without inner workings."""

from __future__ import annotations

import inspect
from typing import Any

from qmi.actors.interface import BLOCK_METHODS, Interface, Method
from qmi.actors.signatures import Source, signature_parameters

_SHOWN_SPECIAL = {"__doc__", "__module__", "__name__", "__qualname__"}


SIMULATED_DOC = "This instrument is simulated: nothing is sent to a device."
"""What the documentation of a simulated instrument ends in, by which its proxies know it wherever they are."""


def shown_class(interface: Interface) -> str:
    """The name of an object's class as people see it: they see, too, that an instrument is simulated."""
    return f"{interface.class_name} (simulated)" if interface.doc.endswith(SIMULATED_DOC) else interface.class_name


class ProxyType(type):
    """The class of proxy classes; ``help()`` of a proxy shows what is meant for users, and nothing else."""

    # A proxy is made by a context, never by calling its class.
    __signature__: inspect.Signature = inspect.Signature()

    def __dir__(cls) -> list[str]:
        interface: Interface | None = getattr(cls, "__rpc_interface__", None)
        own: set[str] = set()
        if interface is not None:
            own.update(interface.methods, interface.constants, interface.properties)
            own.update(signal.name for signal in interface.signals)
        return [
            name
            for name in super().__dir__()
            if not name.startswith("_") or name in _SHOWN_SPECIAL or (name in own and name not in BLOCK_METHODS)
        ]


def signature_of(method: Method, with_timeout: bool) -> inspect.Signature:
    """The signature that a proxy shows for a method."""
    parameters = signature_parameters(method)
    # Nothing may stand before a positional-only parameter but another one.
    first = min((parameter.kind for parameter in parameters), default=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    name = "self"
    while any(parameter.name == name for parameter in parameters):
        name = f"_{name}"
    parameters.insert(0, inspect.Parameter(name, min(first, inspect.Parameter.POSITIONAL_OR_KEYWORD)))
    if with_timeout:
        timeout = inspect.Parameter(
            "rpc_timeout", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Source("float | None")
        )
        last = parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
        parameters.insert(len(parameters) - last, timeout)
    returns = inspect.Signature.empty if method.returns is None else Source(method.returns)
    return inspect.Signature(parameters, return_annotation=returns)


class _Methods(metaclass=ProxyType):
    """The methods of an object, for those who look at types only. No slots: shells let a dummy take on this type."""


_VIEW_NAMES = ("rpc_nonblocking", "rpc_async", "rpc_blocking")


def hinted_views(view: type, methods: dict[str, object]) -> dict[str, object]:
    """What to put into the class of a proxy so that the type of its other views tells what they offer.

    Interactive shells complete ``proxy.rpc_nonblocking.`` without evaluating it, from the annotation of the property or
    of its class.

    Args:
        view: The base class of the proxy.
        methods: The methods that all views have.
    """
    views = {name: vars(view)[name] for name in _VIEW_NAMES if name in vars(view) and name not in methods}
    if not views:
        return {}
    hint: Any = ProxyType("Methods", (_Methods,), {"__module__": __name__, **methods})
    hint.__annotations__ = {name: hint for name in _VIEW_NAMES if name not in methods}
    for name in hint.__annotations__:
        setattr(hint, name, _annotated(property(), hint))
    found: dict[str, object] = {name: _annotated(value, hint) for name, value in views.items()}
    found["__annotations__"] = dict.fromkeys(views, hint)
    return found


def _annotated(view: property, hint: type) -> property:
    getter: Any = view.fget

    def get(self: object) -> object:
        return getter(self)

    get.__annotations__ = {"return": hint}
    return property(get, doc=view.__doc__)


def unquote_signatures(cls: type) -> None:
    """Let ``help()`` show the annotations of a class's public methods without quotes around them.

    Annotations that are not evaluated are texts, and :mod:`inspect` prints them as such.
    """
    for name, function in vars(cls).items():
        if name.startswith("_") or not inspect.isfunction(function) or "__signature__" in vars(function):
            continue
        signature = inspect.signature(function)
        parameters = [
            parameter.replace(annotation=_unquoted(parameter.annotation)) for parameter in signature.parameters.values()
        ]
        shown = signature.replace(parameters=parameters, return_annotation=_unquoted(signature.return_annotation))
        function.__signature__ = shown  # type: ignore[attr-defined]


def _unquoted(annotation: object) -> object:
    return Source(annotation) if isinstance(annotation, str) else annotation
