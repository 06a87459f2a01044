from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS
from tests.support.examples import examples

CORPUS = Path(__file__).parents[1] / "corpus"
CASES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


def test_each_case_belongs_to_a_target_and_each_target_has_cases() -> None:
    assert {path.parent.name for path in CASES} == set(TARGETS) == set(SEEDS)


@pytest.mark.parametrize("path", CASES, ids=[f"{path.parent.name}/{path.name}" for path in CASES])
def test_fault_08_a_kept_input_does_no_harm(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_fault_08_well_formed_and_damaged_inputs_do_no_harm(target: str) -> None:
    seeds = list(SEEDS[target]())
    changes = st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=4), st.integers(0, 4)), max_size=4)

    @examples(60)
    @given(st.sampled_from(seeds), changes)
    def check(seed: bytes, changes: list[tuple[int, bytes, int]]) -> None:
        for place, put, drop in changes:
            place %= len(seed) + 1
            seed = seed[:place] + put + seed[place + drop :]
        TARGETS[target](seed)

    for seed in seeds:
        TARGETS[target](seed)
    check()


@pytest.mark.parametrize("target", TARGETS)
def test_fault_08_any_bytes_do_no_harm(target: str) -> None:
    @examples(40)
    @given(st.binary(max_size=200))
    def check(data: bytes) -> None:
        TARGETS[target](data)

    check()
