"""Sections of a configuration as dataclasses, made from plain values and back; the library's own ones pass through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from msgspec import Struct

from qmi.config.dataclass_struct import configstruct, from_dict, to_dict
from qmi.config.structure import structure_section, unstructure_section

__all__ = ["config_struct_from_dict", "config_struct_to_dict", "configstruct"]

_T = TypeVar("_T")


def config_struct_from_dict(data: Mapping[str, object], cls: type[_T]) -> _T:
    """Make a section of a configuration from plain values.

    Args:
        data: The values by name.
        cls: A dataclass (see :func:`configstruct`), or a section of the library such as ``CfgContext``.

    Raises:
        TypeError: If the class is none of these.
        QMI_ConfigurationException: If a value is missing, unknown or wrong; the message says where it stands.
    """
    if isinstance(cls, type) and issubclass(cls, Struct):
        section: _T = structure_section(data, cast("type[_T]", cls))
        return section
    return from_dict(data, cls)


def config_struct_to_dict(cfg: object) -> dict[str, Any]:
    """The plain values of a section of a configuration, as they would stand in a file.

    Raises:
        TypeError: If it is no instance of such a class, or holds what no file can.
    """
    return unstructure_section(cfg) if isinstance(cfg, Struct) else to_dict(cfg)
