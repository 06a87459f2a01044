from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.site.envelope import (
    MAX_NUMBER,
    OVERHEAD,
    Envelope,
    Form,
    from_bytes,
    join_incarnations,
    join_segments,
    names_incarnation,
    plain_head,
    split_segments,
)

INCARNATIONS = st.binary(min_size=8, max_size=8).map(bytes.hex)


@given(
    st.sampled_from(Form),
    INCARNATIONS,
    st.integers(0, MAX_NUMBER),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=30),
)
def test_envelope_comes_back(
    form: Form, incarnation: str, number: int, timestamp: float, floor: int, body: bytes
) -> None:
    envelope = Envelope(form, incarnation, number, timestamp, floor, body)
    assert len(envelope.to_bytes()) == OVERHEAD + len(body)
    assert from_bytes(envelope.to_bytes()) == envelope


@given(st.binary(max_size=60))
def test_what_is_no_envelope_is_none(data: bytes) -> None:
    envelope = from_bytes(data)
    assert envelope is None or envelope.to_bytes() == data


@pytest.mark.parametrize(
    "data", [b"", b"{}", bytes(OVERHEAD - 1), bytes(OVERHEAD), b"\x01\x04" + bytes(32), b"\x02\x00" + bytes(32)]
)
def test_answers_of_servers_are_no_envelopes(data: bytes) -> None:
    assert from_bytes(data) is None


@given(st.binary(max_size=20), st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_segments_come_back(payload: bytes, segments: list[bytes]) -> None:
    found = split_segments(join_segments(payload, [memoryview(segment) for segment in segments]))
    assert found is not None
    assert found[0] == payload
    assert [bytes(segment) for segment in found[1]] == segments
    assert not any(segment.readonly for segment in found[1])


@given(st.binary(max_size=40))
def test_what_is_no_segments_is_none(body: bytes) -> None:
    found = split_segments(body)
    assert found is None or join_segments(*found) == body


@given(st.lists(INCARNATIONS, max_size=5), INCARNATIONS)
def test_incarnations_are_found(incarnations: list[str], other: str) -> None:
    body = join_incarnations(incarnations)
    assert all(names_incarnation(body, one) for one in incarnations)
    assert names_incarnation(body, other) == (other in incarnations)


@given(INCARNATIONS, st.integers(0, MAX_NUMBER), st.floats(0, 1e10), st.integers(0, 2**64 - 1))
def test_head_of_a_plain_signal_is_that_of_its_envelope(incarnation: str, number: int, time: float, floor: int) -> None:
    envelope = Envelope(Form.PLAIN, incarnation, number, time, floor, b"")
    assert plain_head(bytes.fromhex(incarnation), number, time, floor) == envelope.to_bytes()
