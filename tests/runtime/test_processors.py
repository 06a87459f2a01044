from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from qmi.runtime import processors
from qmi.runtime.processors import Processors, cgroup_paths, cpu_quota


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000", math.inf),
        ("100000 100000", 1.0),
        ("150000 100000", 1.5),
        ("50000 100000", 0.5),
        ("400000 100000\n", 4.0),
        ("-1 100000", math.inf),  # version 1: none
        ("100000 0", math.inf),
        ("0 100000", math.inf),
        ("", math.inf),
        (" ", math.inf),
        ("max", math.inf),
        ("nonsense of a kernel", math.inf),
    ],
)
def test_cpu_quota_is_in_processors(text: str, expected: float) -> None:
    assert cpu_quota(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0::/\n", ["/"]),
        ("0::/a/b\n", ["/a/b", "/a", "/"]),
        ("4:cpu,cpuacct:/a\n3:cpuset:/b\n1:name=systemd:/c\n", ["/cpu/a", "/cpu/"]),
        ("2:memory:/m\n1:cpu:/\n0::/\n", ["/cpu/", "/"]),
        ("", []),
        ("nonsense\n", ["/"]),
    ],
)
def test_cgroup_paths_are_those_of_all_groups_around(text: str, expected: list[str]) -> None:
    assert cgroup_paths(text) == expected


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [
        (1, math.inf, False),
        (2, math.inf, True),
        (16, 1.0, False),
        (16, 1.9, False),
        (16, 2.0, True),
        (16, 0.5, False),
        (1, 4.0, False),
    ],
)
def test_processors_are_several_by_affinity_and_quota(
    affinity: int, quota: float, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "_affinity", lambda: affinity)
    monkeypatch.setattr(processors, "_quotas", lambda: iter([math.inf, quota]))
    assert Processors().are_several(0.0) is expected


def test_processors_that_are_given_and_taken_are_seen_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    has, may = [2], [math.inf]
    asked: list[str] = []

    def affinity() -> int:
        asked.append("affinity")
        return has[0]

    def quotas() -> Iterator[float]:
        asked.append("quotas")
        yield may[0]

    monkeypatch.setattr(processors, "_affinity", affinity)
    monkeypatch.setattr(processors, "_quotas", quotas)
    found = Processors()
    assert found.are_several(100.0)
    has[0] = 1
    assert found.are_several(100.9)  # nobody asks the system for each call
    assert asked == ["quotas", "affinity"]
    assert not found.are_several(101.1)
    has[0], may[0] = 2, 1.0
    assert found.are_several(102.5)
    assert not found.are_several(161.0)
    assert asked.count("quotas") == 2


def test_processors_of_this_machine_are_found() -> None:
    assert processors._affinity() >= 1
    assert all(quota > 0 for quota in processors._quotas())
