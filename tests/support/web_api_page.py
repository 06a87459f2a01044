"""The page of the documentation that lists the HTTP API, as the table of its operations has it.

``python -m tests.support.web_api_page`` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from qmi._version import __version__
from qmi.web.api_answers import SCHEMAS
from qmi.web.api_table import OPERATIONS, Operation
from qmi.web.openapi import document

MARK = " \N{LOCK}"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "web-api.md"

HEAD = f"""# HTTP API

[How it is used](../do/web-api.md). This page is made from the table of operations, from which the server also makes
its checks and `/api/openapi.json`.

Operations marked with{MARK} change something and need a login; where reading is not free, the others need one, too.
A body is JSON (`Content-Type: application/json`).
"""

ERRORS = """## Errors

An error is `{"error": {"type": ..., "message": ..., "hint": ..., "argument": ...}}`: its type, what was found and
expected, what to do, and which argument does not fit; the last two only where they are known.

| Status | Meaning |
| --- | --- |
"""


def page() -> str:
    """The text of the page."""
    described = document(OPERATIONS, __version__)
    return "\n".join([HEAD, *_operations(described), _errors(described), *_answers()]).rstrip() + "\n"


def _operations(described: dict[str, Any]) -> Iterator[str]:
    in_groups = sorted(OPERATIONS, key=lambda operation: _GROUPS.index(operation.group))
    for group, operations in groupby(in_groups, key=lambda operation: operation.group):
        yield f"## {group}\n"
        for operation in operations:
            yield from _operation(operation, described["paths"][operation.path][operation.method.lower()])


_GROUPS = list(dict.fromkeys(operation.group for operation in (*OPERATIONS[1:], OPERATIONS[0])))


def _operation(operation: Operation, described: dict[str, Any]) -> Iterator[str]:
    yield f"### `{operation.method} {operation.path}`{MARK if operation.changes else ''}\n"
    yield f"{operation.about}.\n"
    for query in operation.query:
        many = ", may be repeated" if query.several else ""
        needed = ", required" if query.required else ""
        yield f"- `?{query.name}=` ({_kind(query.schema)}{needed}{many}): {query.about}"
    if operation.body is not None:
        names = operation.body.get("properties")
        required = operation.body.get("required", ())
        told = "any JSON object" if names is None else ", ".join(
            f"`{name}` ({_kind(kind)}{', required' if name in required else ''})" for name, kind in names.items()
        )  # fmt: skip
        example = "" if operation.example is None else f"; for example `{json.dumps(operation.example)}`"
        yield f"- Body: {told}{example}"
    for media, content in described["responses"]["200"]["content"].items():
        yield f"- Answer: {_kind(content['schema'])}" if media == "application/json" else f"- Answer: `{media}`"
    yield ""


def _kind(schema: Any) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kinds = schema.get("type", "any value")
    if kinds == "array":
        return f"list of {_kind(schema['items'])}"
    if kinds == "object" and "properties" in schema:
        required = schema.get("required", ())
        fields = (f"`{name}`{'' if name in required else '?'}: {_kind(kind)}"
                  for name, kind in schema["properties"].items())  # fmt: skip
        return f"{{{', '.join(fields)}}}"
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def _errors(described: dict[str, Any]) -> str:
    lines = (f"| {code} | {told['description']} |" for code, told in described["components"]["responses"].items())
    return ERRORS + "\n".join(lines) + "\n"


def _answers() -> Iterator[str]:
    yield "## Answers\n\nFields with a question mark are not always there.\n"
    for name, schema in sorted(SCHEMAS.items()):
        yield f"### {name}\n"
        if "description" in schema:
            yield f"{schema['description'].rstrip('.')}.\n"
        required = schema.get("required", ())
        for field, kind in schema["properties"].items():
            about = f": {kind['description']}" if "description" in kind else ""
            yield f"- `{field}`{'' if field in required else '?'} ({_kind(kind)}){about}"
        yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
