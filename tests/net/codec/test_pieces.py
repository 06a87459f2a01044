"""Large messages are decoded piece by piece, with the same outcome."""

from __future__ import annotations

from typing import Any

import pytest
from cbor2 import CBORDecodeError, CBORTag, dumps, loads

from qmi.net.codec import Codec, msgpack_parts, pieces, records
from qmi.net.codec.tags import Own
from qmi.net.limits import ProtocolError

VALUES: dict[str, Any] = {
    "integers": list(range(-50_000, 50_000)),
    "texts": [f"text {number}" for number in range(20_000)],
    "one text": "ä" * 200_000,
    "bytes": [bytes(1000)] * 200,
    "dicts": [{"a": number, "b": [None, 1.5]} for number in range(20_000)],
    "large integers": [1 << number % 3000 for number in range(2000)],
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_value_in_pieces_is_the_value(value: Any) -> None:
    assert pieces.decode(dumps(value)) == value


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("end", [1, 5000, 70_000, -1])
def test_value_that_ends_too_early_is_refused(value: Any, end: int) -> None:
    data = dumps(value)[:end]
    with pytest.raises(CBORDecodeError):
        loads(data)
    with pytest.raises(CBORDecodeError):
        pieces.decode(data)


def test_options_hold_in_the_last_piece_too() -> None:
    twice = b"\xa2\x61a\x01\x61a\x01"
    data = b"\x9a" + (100_001).to_bytes(4, "big") + b"\x01" * 100_000 + twice
    assert len(pieces.decode(data)) == 100_001
    with pytest.raises(CBORDecodeError):
        pieces.decode(data, allow_duplicate_keys=False)
    with pytest.raises(CBORDecodeError):
        pieces.decode(data, max_depth=1)


def test_interpreter_is_free_for_others_after_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is read by a function in Python, at whose beginning the interpreter looks whether others want it."""
    sizes: list[int] = []
    read = pieces._Pieces.read

    def note(file: pieces._Pieces, size: int = -1) -> bytes:
        piece = read(file, size)
        sizes.append(len(piece))
        return piece

    monkeypatch.setattr(pieces._Pieces, "read", note)
    codec = Codec()
    texts = b"\x9a" + (100_000).to_bytes(4, "big") + b"\x62ab" * 100_000
    assert codec.decode(texts) == ["ab"] * 100_000
    assert sum(sizes) > len(texts)
    assert max(sizes) <= 4096


@pytest.mark.parametrize(
    "value", [[None, 1.5] * 40_000, [(1, "a", None)] * 40_000, [b"ab"] * 80_000], ids=["scalars", "rows", "bytes"]
)
def test_interpreter_is_free_for_others_after_each_part(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    read = msgpack_parts.read

    def note(*args: Any) -> Any:
        found = read(*args)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(msgpack_parts, "read", note)
    monkeypatch.setattr(records, "read", note)
    payload, segments = Codec().encode(value)
    assert Codec().decode(payload, [bytes(segment) for segment in segments]) == value
    assert sum(sizes) == len(value)
    assert max(sizes) <= msgpack_parts.PART


@pytest.mark.parametrize("form", ["m", "B"])
def test_part_of_more_items_than_take_a_few_milliseconds_is_refused(form: str) -> None:
    for size, good in ((1 << 16, True), ((1 << 16) + 1, False)):
        data = b"\xdd" + size.to_bytes(4) + (b"\xc0" if form == "m" else b"\xc4\x00") * size
        payload = dumps(CBORTag(Own.PACKED, [form, None, data]))
        if good:
            assert len(Codec().decode(payload)) == size
            continue
        with pytest.raises(ProtocolError):
            Codec().decode(payload)


@pytest.mark.parametrize("body", [b"\x9a\x00\x01\x86\xa0" + b"\x01" * 99_999, b"\x01" * 100_000], ids=["less", "more"])
def test_body_of_another_length_than_its_value_ends_the_link(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        Codec().decode(body)
