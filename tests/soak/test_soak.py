from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from tests.soak.__main__ import Soak, _growth
from tests.soak.ledger import Ledger, add_up
from tests.soak.world import Size


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_fault_40_everything_at_once_for_a_short_while(tmp_path: Path) -> None:
    faults = Soak(tmp_path, clients=8, seconds=20, seed=40, console=Console(quiet=True)).run()
    assert faults == []


def write(path: Path, *lines: str) -> Path:
    ledger = Ledger(path)
    for line in lines:
        ledger.write(*line.split())
    return path


def test_a_ledger_in_which_all_is_well(tmp_path: Path) -> None:
    client = write(
        tmp_path / "c",
        "b 1.1",
        "b 1.2",
        "e 1.1 value",
        "e 1.2 QMI_NotDeliveredException",
        "b 2.1",
        "g 1.3",
        "r 1.3 unlocked",
    )
    server = write(tmp_path / "s", "x 1.1")
    result = add_up([client], [server], killed={2})
    assert result.faults == []
    assert (result.outcomes["value"], result.killed, result.open, result.grants) == (1, 1, 0, 1)


@pytest.mark.parametrize(
    ("client", "server", "fault"),
    [
        (["b 1.1"], [], "1 calls never ended"),
        (["b 1.1", "e 1.1 value", "e 1.1 KeyError"], ["x 1.1"], "ended twice: value, then KeyError"),
        (["b 1.1", "e 1.1 value"], [], "gave a value but was never carried out"),
        (["b 1.1", "e 1.1 value"], ["x 1.1", "x 1.1"], "was carried out 2 times"),
        (["b 1.1", "e 1.1 QMI_NotDeliveredException"], ["x 1.1"], "although it ended as not delivered"),
        (["g 1.1"], [], "grant 1.1 was never given back"),
        (["v a call hung"], [], "c: a call hung"),
        ([], ["v b came in while a holds the lock"], "s: b came in"),
    ],
)
def test_a_ledger_shows_what_must_not_be(tmp_path: Path, client: list[str], server: list[str], fault: str) -> None:
    (found,) = add_up([write(tmp_path / "c", *client)], [write(tmp_path / "s", *server)], killed=set()).faults
    assert fault in found


def test_each_call_has_a_number_of_its_own(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "x")
    assert len({ledger.number() for _ in range(100)}) == 100


def test_growth_is_told_with_both_sizes() -> None:
    small, large = Size(50 << 20, 9, 30), Size(99 << 20, 13, 37)
    assert _growth("steady", small, small) == []
    assert len(_growth("steady", small, large)) == 3
    assert "threads grew from 9 to 13" in _growth("steady", small, large)[1]
