"""Whether an answer of the HTTP API is one that its description has."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import httpx
import jsonschema_rs

from qmi._version import __version__
from qmi.web.api_table import OPERATIONS
from qmi.web.openapi import document


def closed(schema: Any) -> Any:
    """A schema that has no fields but those that it names."""
    if isinstance(schema, list):
        return [closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        found.setdefault("additionalProperties", False)
    return found


@cache
def _described() -> dict[str, Any]:
    return document(OPERATIONS, __version__)


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"{\w+}", "[^/]+", path.replace(".", r"\.")))


def _operation(method: str, path: str) -> dict[str, Any]:
    for known, operations in _described()["paths"].items():
        if _pattern(known).fullmatch(path):
            found: dict[str, Any] = operations.get(method.lower(), {})
            return found
    return {}


@cache
def _validator(name: str, status: str) -> Any:
    operations = [each for path in _described()["paths"].values() for each in path.values()]
    (operation,) = (each for each in operations if each["operationId"] == name)
    described = operation["responses"][status]
    if "$ref" in described:
        described = _described()["components"]["responses"][status]
    schema = described["content"]["application/json"]["schema"]
    return jsonschema_rs.validator_for({**closed(schema), "components": closed(_described()["components"])})


def check(answer: httpx.Response) -> None:
    """Fail if the description has no such answer to the request."""
    request, path = answer.request, answer.request.url.raw_path.decode().partition("?")[0]
    operation = _operation(request.method, path)
    if not operation:
        return
    what, status = f"{request.method} {path}: {answer.status_code}", str(answer.status_code)
    kind = answer.headers["content-type"].partition(";")[0]
    assert status in operation["responses"], f"{what} is not described: {answer.text}"
    assert kind == "application/json" or (status == "200" and kind in operation["responses"]["200"]["content"]), what
    if kind == "application/json":
        found = _validator(operation["operationId"], status).iter_errors(answer.json())
        faults = [f"{error.instance_path}: {error.message}" for error in found]
        assert not faults, f"{what}: {faults}"
