"""What a dashboard consists of: the schema that the API describes and checks, as are the files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qmi.web.schemas import fault_of

Schema = Mapping[str, Any]

MOST_PANELS = 100
MOST_SOURCES = 32

_NAME = "[-_a-zA-Z0-9()]{1,63}"
_VALUE: Schema = {
    "type": "string",
    "pattern": r"^NAME[.]NAME[.][^\x00-\x20\x7f]{1,200}$".replace("NAME", _NAME),
    "description": "a value or signal as CONTEXT.OBJECT.NAME",
}


def _object(required: tuple[str, ...], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


_SOURCE = _object(
    ("text",),
    text=_VALUE,
    axis={"type": "string", "enum": ["", "own"], "description": '"own" for an axis of its own'},
)
_PLOT = _object(
    ("kind", "sources"),
    kind={"type": "string", "enum": ["plot"]},
    sources={"type": "array", "items": _SOURCE, "maxItems": MOST_SOURCES},
    span={"type": "number", "minimum": 1, "maximum": 86400, "description": "how much of the past it shows, in seconds"},
    wide={"type": "boolean"},
)
_FIGURE = _object(
    ("kind", "text"),
    kind={"type": "string", "enum": ["value"]},
    text=_VALUE,
    wide={"type": "boolean"},
)
PANEL: Schema = {"anyOf": [_PLOT, _FIGURE]}

DASHBOARD: Schema = {
    "type": "object",
    "properties": {"panels": {"type": "array", "items": PANEL, "maxItems": MOST_PANELS}},
    "additionalProperties": False,
}
"""A dashboard."""


def usable(content: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    """What can be shown of a dashboard that somebody may have edited, and what is wrong with the rest.

    Args:
        content: What the file has.
    """
    faults = [f"it has {name!r}, and may have panels" for name in content if name != "panels"]
    panels = content.get("panels", [])
    if not isinstance(panels, list):
        return {"panels": []}, [*faults, "panels must be a JSON list"]
    found = []
    for number, panel in enumerate(panels[:MOST_PANELS]):
        fault = fault_of(panel, PANEL, f"panels[{number}]")
        if fault:
            faults.append(fault)
        else:
            found.append(panel)
    if len(panels) > MOST_PANELS:
        faults.append(f"panels must have at most {MOST_PANELS} entries, got {len(panels)}")
    return {"panels": found}, faults
