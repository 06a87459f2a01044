"""The description of the HTTP API in OpenAPI 3.1, made of the table of its operations. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qmi.web.api_answers import ANSWERS, SCHEMAS
from qmi.web.api_table import ANYTHING, PATH_SCHEMAS, Operation, Query, path_names

_ERRORS = {
    "400": "the request cannot be understood",
    "401": "a login is needed",
    "403": "it is not allowed",
    "404": "there is nothing of that name",
    "406": "the value cannot be of the type in the header Accept",
    "408": "the body of the request has not come in time",
    "409": "it cannot be done now",
    "413": "the request is too large",
    "415": "what is sent is of another type",
    "421": "the server has another name",
    "422": "a value does not fit; the error names the argument",
    "423": "somebody else holds the lock",
    "429": "too many requests",
    "500": "the server failed; its log says why",
    "502": "the object failed; the error is that of its driver",
    "503": "the context is not there, or has not answered",
    "504": "the object did not answer in time",
}
_READING = ("400", "401", "403", "404", "409", "413", "421", "423", "429", "500", "502", "503", "504")
_CHANGING = (*_READING, "408", "415", "422")


def document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """The description.

    Args:
        operations: The operations.
        version: The version of the library.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "A laboratory",
            "version": version,
            "description": "What 'qmi web' shows, for other programs. Changing something needs a login.",
        },
        "paths": paths,
        "components": {
            "schemas": dict(SCHEMAS),
            "responses": {code: _error(text) for code, text in _ERRORS.items()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "the token that 'qmi web' prints"},
                "password": {"type": "http", "scheme": "basic", "description": "a user of the file of users"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "qmi_session_8642",
                    "description": "the cookie of a login; the port in the address of the server is in its name",
                },
            },
        },
    }


def _error(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}


def _described(operation: Operation) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": PATH_SCHEMAS[name]}
        for name in path_names(operation.path)
    ]
    answers = {code: {"$ref": f"#/components/responses/{code}"} for code in _codes(operation)}
    media = {kind: {"schema": _answer(operation.name, kind)} for kind in operation.media}
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.about,
        "tags": [operation.group],
        "parameters": [*parameters, *map(_query, operation.query)],
        "responses": {"200": {"description": "done", "content": media}, **answers},
    }
    if operation.body is not None:
        required = "required" in operation.body
        content = {"schema": operation.body, **({} if operation.example is None else {"example": operation.example})}
        found["requestBody"] = {"required": required, "content": {"application/json": content}}
    if not operation.open_to_all:  # reading needs a login as well where it is not free
        proofs: list[dict[str, list[str]]] = [{"token": []}, {"password": []}, {"session": []}]
        found["security"] = proofs if operation.changes else [{}, *proofs]
    return found


def _answer(name: str, kind: str) -> Mapping[str, Any]:
    return ANSWERS.get(name, ANYTHING) if kind == "application/json" else ANYTHING


def _codes(operation: Operation) -> list[str]:
    codes = _CHANGING if operation.changes or operation.body is not None else _READING
    several = ("406",) if len(operation.media) > 1 else ()
    return sorted(code for code in (*codes, *several) if code != "404" or operation.unknown)


def _query(query: Query) -> dict[str, Any]:
    schema = {"type": "array", "items": query.schema} if query.several else query.schema
    return {"name": query.name, "in": "query", "required": query.required, "description": query.about, "schema": schema}
