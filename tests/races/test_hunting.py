from __future__ import annotations

import threading

import pytest
import trio

from tests.support.hunting import LIMIT, restless_threads


@pytest.mark.slow
def test_hunt_begins_without_the_idle_threads_of_others() -> None:
    # A thousand of them, which all ended while others hunted, once kept a run of all tests from its end for 80 minutes.
    threads: list[threading.Thread] = []
    everybody = threading.Barrier(61)

    def begin() -> None:
        threads.append(threading.current_thread())
        everybody.wait(LIMIT)

    for _ in range(60):
        trio.lowlevel.start_thread_soon(begin, lambda _: None)
    everybody.wait(LIMIT)
    assert len(threads) == 60
    with restless_threads():
        assert not any(thread.is_alive() for thread in threads)
