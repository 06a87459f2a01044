"""No machine takes the links of all others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.net.io.link_quota import HERE, Shares, machine_of

SHARES = Shares(total=200, per_address=50, local=120, kept=20)


@pytest.mark.parametrize(
    ("where", "machine"),
    [
        ("10.0.0.5:4000", "10.0.0.5"),
        ("127.0.0.1:4000", HERE),
        ("127.3.2.1:4000", HERE),
        ("::1:4000", HERE),
        ("[::1]:4000", HERE),
        ("::ffff:127.0.0.1:4000", HERE),
        ("::ffff:10.0.0.5:4000", "10.0.0.5"),
        ("localhost:4000", HERE),
        ("fe80::1%eth0:4000", "fe80::/64"),
        ("2001:db8::1:4000", "2001:db8::/64"),
        ("2001:db8::ffff:1:4000", "2001:db8::/64"),
        ("2001:db8:1::1:4000", "2001:db8:1::/64"),
        ("lab-pc:4000", "lab-pc"),
    ],
)
def test_machine_is_named_by_its_address(where: str, machine: str) -> None:
    assert machine_of(where) == machine


@pytest.mark.parametrize(
    ("machine", "own", "taken", "word"),
    [
        ("a", 49, 100, None),
        ("a", 50, 100, "max_links_per_address"),
        (HERE, 119, 150, None),
        (HERE, 120, 150, "max_local_links"),
        (HERE, 100, 190, None),
        ("a", 8, 180, "reserved_links"),
        ("a", 8, 179, None),
        ("a", 7, 180, None),
        ("a", 0, 199, None),
        ("a", 0, 200, "max_links"),
        (HERE, 0, 200, "max_links"),
    ],
)
def test_share_has_its_limits(machine: str, own: int, taken: int, word: str | None) -> None:
    refusal = SHARES.refusal(machine, own, taken)
    assert (refusal is None) if word is None else (refusal is not None and word in refusal)


@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e", HERE]), max_size=600))
def test_share_of_a_newcomer_is_left_whoever_came_before(coming: list[str]) -> None:
    counts: dict[str, int] = {}
    for machine in coming:
        if SHARES.refusal(machine, counts.get(machine, 0), sum(counts.values())) is None:
            counts[machine] = counts.get(machine, 0) + 1
    assert sum(counts.values()) <= 200
    assert counts.get(HERE, 0) <= 120
    assert all(count <= 50 for machine, count in counts.items() if machine != HERE)
    if counts.get(HERE, 0) <= 80:
        assert SHARES.refusal("newcomer", 0, sum(counts.values())) is None
