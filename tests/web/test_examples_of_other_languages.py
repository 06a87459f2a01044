"""The examples in Julia and MATLAB: what they ask for is in the description of the API. Neither language is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from qmi._version import __version__
from qmi.web.api_table import OPERATIONS
from qmi.web.openapi import document

PAGE = Path(__file__).parents[2] / "docs" / "do" / "web-api.md"

Request = tuple[str, str, Any]
"""A method, a path, and the body that is sent; None for none."""


def blocks(language: str) -> list[str]:
    """The examples of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def _path(url: str) -> str:
    return re.sub(r"^http://127\.0\.0\.1:\d+", "", url)


def _within_brackets(text: str) -> str:
    depth = 0
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return text[1:at]
    raise AssertionError(f"a bracket is not closed in {text}")


def julia(text: str) -> list[Request]:
    """What an example in Julia sends."""
    (url,) = re.findall(r'^url = "(.*)"$', text, re.MULTILINE)
    found: list[Request] = []
    for method, rest, arguments in re.findall(r'HTTP\.(\w+)\("\$url([^"]*)"(.*)', text):
        body = None
        if "JSON.json" in arguments:
            assert arguments.startswith(", head, "), "what changes something is sent with the token"
            given = _within_brackets(arguments.partition("JSON.json")[2])
            body = json.loads(given.replace("Dict(", "{").replace(")", "}").replace("=>", ":"))
        found.append((method.upper(), _path(url) + rest, body))
    assert len(found) == len(re.findall(r"HTTP\.\w+\(", text)) > 0
    return found


def matlab(text: str) -> list[Request]:
    """What an example in MATLAB sends."""
    (url,) = re.findall(r'^url = "(.*)";$', text, re.MULTILINE)
    found: list[Request] = []
    method = ""
    for line in text.splitlines():
        if set_to := re.fullmatch(r'options\.RequestMethod = "(\w+)";', line):
            method = set_to[1].upper()
        if read := re.search(r'webread\(url \+ "([^"]*)"\)', line):
            found.append(("GET", _path(url) + read[1], None))
        if written := re.search(r'webwrite\(url \+ "([^"]*)", (struct\(.*\)), options\)', line):
            given = re.sub(r"(\w+)=", r'"\1":', written[2].replace("struct(", "{").replace(")", "}"))
            found.append((method, _path(url) + written[1], json.loads(given)))
    assert len(found) == len(re.findall(r"webread|webwrite", text)) > 0
    return found


def described(method: str, path: str) -> dict[str, Any]:
    """The operation of the description that a request is one of."""
    fitting = [
        operations[method.lower()]
        for known, operations in document(OPERATIONS, __version__)["paths"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", known), path) and method.lower() in operations
    ]
    assert len(fitting) == 1, f"the description has no {method} {path}"
    found: dict[str, Any] = fitting[0]
    return found


REQUESTS: list[Request] = [
    ("GET", "/api/objects/lab/psu/parameters/voltage", None),
    ("PUT", "/api/objects/lab/psu/parameters/voltage", {"value": "300 mV"}),
    ("POST", "/api/objects/lab/psu/methods/trace", {"arguments": {"points": 1000}}),
]


@pytest.mark.parametrize(("language", "read"), [("julia", julia), ("matlab", matlab)], ids=["julia", "matlab"])
def test_examples_of_other_languages_send_what_the_description_has(language: str, read: Any) -> None:
    (text,) = blocks(language)
    found = read(text)
    assert found == REQUESTS
    for method, path, body in found:
        operation = described(method, path)
        assert ("requestBody" in operation) == (body is not None)
        if body is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            jsonschema_rs.validator_for(schema).validate(body)
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer, "the fields that the example takes from it are described"
    for field in ("value", "result"):
        assert re.search(rf'\["{field}"\]|\.{field}\b', text), "it takes the field that the answer has"


@pytest.mark.parametrize("language", ["julia", "matlab"])
def test_examples_of_other_languages_send_token_and_type(language: str) -> None:
    (text,) = blocks(language)
    assert re.search(r'"Authorization"(?: =>|,) "Bearer ', text)
    assert "application/json" in text
    assert "lab_web.token" in text, "the file that qmi_proc status names"
