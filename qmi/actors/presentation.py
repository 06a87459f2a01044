"""What a person sees of a proxy class: signatures as they were written, and a ``help()`` without inner workings."""

from __future__ import annotations

import inspect

from qmi.actors.interface import Method, Source, signature_parameters

_SHOWN_SPECIAL = {"__doc__", "__module__", "__name__", "__qualname__"}


class ProxyType(type):
    """The class of proxy classes; ``help()`` of a proxy shows what is meant for users, and nothing else."""

    # A proxy is made by a context, never by calling its class.
    __signature__: inspect.Signature = inspect.Signature()

    def __dir__(cls) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_") or name in _SHOWN_SPECIAL]


def signature_of(method: Method, with_timeout: bool) -> inspect.Signature:
    """The signature that a proxy shows for a method."""
    parameters = signature_parameters(method)
    # Nothing may stand before a positional-only parameter but another one.
    first = min((parameter.kind for parameter in parameters), default=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters.insert(0, inspect.Parameter("self", min(first, inspect.Parameter.POSITIONAL_OR_KEYWORD)))
    if with_timeout:
        timeout = inspect.Parameter(
            "rpc_timeout", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Source("float | None")
        )
        last = parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
        parameters.insert(len(parameters) - last, timeout)
    returns = inspect.Signature.empty if method.returns is None else Source(method.returns)
    return inspect.Signature(parameters, return_annotation=returns)


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
