"""Full collections stay quick in a long run of the tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.support import heap
from tests.support.heap import Heap


@pytest.fixture
def watched() -> Iterator[Heap]:
    yield Heap()
    gc.callbacks.pop()


@pytest.mark.parametrize(("limit", "slow"), [(-1.0, True), (3600.0, False)])
def test_slow_collection_is_noticed(watched: Heap, limit: float, slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "SLOW", limit)
    gc.collect(0)
    assert not watched.is_slow
    gc.collect()
    assert watched.is_slow is slow


def test_what_stays_is_put_away(watched: Heap) -> None:
    stays = [[number] for number in range(1000)]
    before = gc.get_freeze_count()
    watched.put_away()
    assert gc.get_freeze_count() >= before + len(stays)
    assert not watched.is_slow
