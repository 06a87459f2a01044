"""Arrays and other values in the answers of the HTTP API: JSON, CBOR, npy."""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cbor2
import httpx
import numpy
import pytest
import trio

from qmi.web import api_values, large_values
from qmi.web.api_values import cbor_of, npy_of
from qmi.web.large_values import json_parts
from tests.support.shell_driver import ShellSupply
from tests.support.web import Web, web_and_lab

PSU = "/api/objects/lab/psu"


@pytest.fixture
async def operator(config: Path) -> AsyncIterator[Web]:
    async with web_and_lab(config) as found:
        await found.lab.make_instrument("psu", ShellSupply)
        found.client.headers["authorization"] = f"Bearer {found.token}"
        yield found


async def test_what_is_no_array_comes_as_npy_if_it_is_numbers(operator: Web) -> None:
    async def echo(value: Any, accept: str) -> Any:
        body = {"arguments": [value]}
        return await operator.client.post(f"{PSU}/methods/echo", json=body, headers={"accept": accept})

    numbers: list[Any] = [1.5, [1, 2], [[1.0, 2.0], [3.0, 4.0]], True, []]
    for value in numbers:
        npy = await echo(value, "application/x-npy")
        assert numpy.load(io.BytesIO(npy.content)).tolist() == value
        cbor = await echo(value, "application/cbor")
        assert cbor2.loads(cbor.content) == value
    others: list[Any] = ["text", ["a"], {"a": 1}, [[1], [2, 3]], None, [10**30]]
    for value in others:
        refused = await echo(value, "application/x-npy")
        assert (refused.status_code, "Accept" in refused.json()["error"]["hint"]) == (406, True)
        assert (await echo(value, "application/x-npy, */*;q=0.1")).json() == {"result": value}
        assert cbor2.loads((await echo(value, "application/cbor")).content) == value


ARRAYS: list[Any] = [
    numpy.arange(6, dtype="<f8").reshape(2, 3),
    numpy.arange(6, dtype=">i4").reshape(3, 2).T,
    numpy.array([1, 2], "u1"),
    numpy.array([], "f4"),
    numpy.array(2.5),
    numpy.array([float("nan"), float("inf")]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype.str}{array.shape}")
def test_array_is_the_same_as_npy_and_cbor(array: Any) -> None:
    numpy.testing.assert_array_equal(numpy.load(io.BytesIO(npy_of(array))), array)
    read = cbor2.loads(cbor_of(array), tag_hook=lambda tag, _: typed_array(tag))
    numpy.testing.assert_array_equal(read, array)
    assert read.dtype.kind == array.dtype.kind


def typed_array(tag: cbor2.CBORTag) -> Any:
    """A typed array of RFC 8746, as its text says."""
    if tag.tag == 40:
        return tag.value[1].reshape(tag.value[0])
    kinds = {64: "u1", 69: "<u2", 70: "<u4", 71: "<u8", 72: "i1", 77: "<i2", 78: "<i4", 79: "<i8", 84: "<f2",
             85: "<f4", 86: "<f8"}  # fmt: skip
    return numpy.frombuffer(tag.value, kinds[tag.tag])


def test_array_of_complex_numbers_has_a_dimension_more_in_cbor() -> None:
    array = numpy.array([[1 + 2j, 3], [4, 5j]])
    read = cbor2.loads(cbor_of(array), tag_hook=lambda tag, _: typed_array(tag))
    numpy.testing.assert_array_equal(read[..., 0] + 1j * read[..., 1], array)
    numpy.testing.assert_array_equal(numpy.load(io.BytesIO(npy_of(array))), array)


def test_array_that_cbor_has_no_type_for_is_a_list() -> None:
    assert cbor2.loads(cbor_of([1 + 2j])) == [[1.0, 2.0]]
    assert cbor2.loads(cbor_of(numpy.array(["a", "b"]))) == ["a", "b"]
    assert cbor2.loads(cbor_of({"a": (numpy.array([True]), b"x")})) == {"a": [[True], b"x"]}


async def test_large_value_holds_up_nobody_else(operator: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    is_made, others_are_answered = threading.Event(), threading.Event()

    def make(value: object) -> list[bytes]:
        is_made.set()
        assert others_are_answered.wait(20)
        return json_parts(value)

    monkeypatch.setattr(api_values, "json_parts", make)
    monkeypatch.setattr(large_values, "SOON", 2)
    answers: list[httpx.Response] = []

    async def trace() -> None:
        answers.append(await operator.client.post(f"{PSU}/methods/trace", json={"arguments": [3]}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trace)
        assert await trio.to_thread.run_sync(is_made.wait, 20)
        assert (await operator.client.get("/metrics")).status_code == 200
        others_are_answered.set()
    assert answers[0].json() == {"result": [0.0, 1.0, 2.0]}


async def test_array_is_made_json_only_where_that_is_wanted(operator: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.web.api_objects.json_lazily", None)
    accept = {"accept": "application/x-npy"}
    array = await operator.client.post(f"{PSU}/methods/trace", json={"arguments": [3]}, headers=accept)
    assert numpy.load(io.BytesIO(array.content)).shape == (3,)
