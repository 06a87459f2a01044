"""Signatures of published methods, made again of what descriptors say of them."""

from __future__ import annotations

import inspect

from qmi.actors.interface import Method

KINDS = {
    kind.value: kind
    for kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.VAR_KEYWORD,
    )
}
"""The kinds of parameters by the numbers that descriptions have."""


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
    if unknown := [parameter for parameter in method.parameters if parameter.kind not in KINDS]:
        raise ValueError(f"{unknown[0].kind} is no kind of a parameter")
    parameters = [
        inspect.Parameter(
            parameter.name,
            KINDS[parameter.kind],
            default=empty if parameter.default is None else Source(parameter.default),
            annotation=empty if parameter.annotation is None else Source(parameter.annotation),
        )
        for parameter in method.parameters
    ]
    inspect.Signature(parameters)
    return parameters
