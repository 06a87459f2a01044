from __future__ import annotations

import pytest

from tests.faults.__main__ import main
from tests.faults.results import rows_of
from tests.faults.rows import ROWS


@pytest.mark.parametrize(
    ("test", "rows"),
    [
        ("tests/a.py::test_fault_08_bytes[x]", [8]),
        ("tests/a.py::test_fault_01_and_02_loss", [1, 2]),
        ("tests/a.py::test_fault_37_steals::runTest", [37]),
        ("tests/a.py::test_fault_1_is_written_with_two_digits", []),
        ("tests/a.py::test_no_fault", []),
    ],
)
def test_the_name_of_a_test_says_its_row(test: str, rows: list[int]) -> None:
    assert rows_of(test) == rows


def test_the_table_is_complete() -> None:
    assert list(ROWS) == list(range(1, 69))


# A plugin of another library makes marks when it is imported, which the settings of the run around refuse.
ALONE = ("-p", "no:cacheprovider", "--disable-plugin-autoload")


@pytest.mark.slow
def test_a_run_shows_what_passed_failed_was_skipped_is_missing_or_is_too_slow(
    tmp_path: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.faults.results.SLOW", -1.0)
    path = f"{tmp_path}/test_rows.py"
    with open(path, "w") as file:
        file.write(
            "import pytest\n"
            "@pytest.mark.parametrize('n', [1, 2])\n"
            "def test_fault_01_passes(n): pass\n"
            "def test_fault_03_fails(): assert False\n"
            "def test_fault_04_is_skipped(): pytest.skip('needs root')\n"
            "@pytest.mark.slow\n"
            "def test_other(): pass\n"
            "def test_left_out(): assert False\n"
        )
    assert main([path, *ALONE]) == 1
    out = capsys.readouterr().out
    for words in ("2 passed", "1 failed", "1 skipped", "missing", "other slow tests", "needs root", "not marked slow"):
        assert words in out
    assert "left_out" not in out.partition("What must hold")[2]
    assert main(["--rows", "1", path, *ALONE]) == 0
    assert "missing" not in capsys.readouterr().out
