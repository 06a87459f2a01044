"""IEEE 488.2 blocks, both ways."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.errors import QMI_InstrumentException, QMI_MissingLibraryException
from qmi.parameters.blocks import Block, array_block, as_array, block_of, data_of_block, memory_for


@given(st.binary(max_size=300))
def test_data_come_out_of_their_block(data: bytes) -> None:
    assert data_of_block(block_of(data)) == data
    assert data_of_block(block_of(data) + b"\n") == data


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=30), st.sampled_from(["<f4", ">f4", "<f8", ">f8"]))
def test_numbers_come_out_of_their_block(values: list[float], dtype: str) -> None:
    np.testing.assert_array_equal(as_array(data_of_block(array_block(values, dtype)), dtype), values)


@pytest.mark.parametrize(
    ("values", "dtype", "block"),
    [
        ([1, 2], "u1", b"#12\x01\x02"),
        ([1.0, -2.0], ">i2", b"#14\x00\x01\xff\xfe"),
        ([], "<f4", b"#10"),
        (np.arange(10, dtype=np.int64), "u1", b"#210" + bytes(range(10))),
        ([True, False], "u1", b"#12\x01\x00"),
    ],
)
def test_block_is_made(values: Any, dtype: str, block: bytes) -> None:
    assert array_block(values, dtype) == block


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ([1.5], "u1", "whole numbers"),
        ([float("nan")], ">i2", "whole numbers"),
        ([256], "u1", "from 0 to 255"),
        ([-1], "u1", "from 0 to 255"),
        ([70000.0], "<i2", "from -32768 to 32767"),
        ([[1, 2]], "u1", "in one row"),
        (5, "u1", "in one row"),
        ("text", "u1", "in one row"),
        ([1j], "<f4", "in one row"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(values: Any, dtype: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        array_block(values, dtype)


@pytest.mark.parametrize("block", [b"", b"#", b"12", b"#2", b"#25", b"#2xx", b"#15abcd"])
def test_half_a_block_is_refused(block: bytes) -> None:
    with pytest.raises(QMI_InstrumentException):
        data_of_block(block)


def test_block_of_indefinite_length_ends_with_its_line() -> None:
    assert data_of_block(b"#0abc\r\n") == b"abc"


def test_block_type_is_what_its_items_are() -> None:
    assert Block("<f4") == Block("<f4") != Block(">f4")
    assert len({Block("<f4"), Block("<f4")}) == 1
    assert repr(Block(">i2")) == "Block('>i2')"
    assert Block().dtype == "u1"


@pytest.mark.parametrize("dtype", ["", None, 4])
def test_block_type_is_named_by_text(dtype: Any) -> None:
    with pytest.raises(TypeError, match="dtype must be a text"):
        Block(dtype)


@pytest.mark.parametrize(
    "use", [lambda: array_block([1.0], "<f4"), lambda: as_array(b"1234", "<f4"), lambda: memory_for(4, "<f4")]
)
def test_block_without_numpy_says_what_to_install(use: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(QMI_MissingLibraryException, match=r"not installed: pip install 'qmi-trio\[numpy\]'"):
        use()
