"""Runs some unit tests and writes down what became of each; started where these tests are.

Usage: ``python one.py RESULT.json MODULE...``
"""

from __future__ import annotations

import json
import sys
import traceback
import unittest
import warnings
from typing import Any


class _Record(unittest.TestResult):
    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}

    def _note(self, test: unittest.TestCase, outcome: str) -> None:
        # A sub-test that failed is not forgotten when its test ends.
        if self.outcomes.get(test.id(), "passed") in ("passed", "skipped"):
            self.outcomes[test.id()] = outcome

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "passed")

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, _text(err))

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, _text(err))

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self._note(test, _text(err))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._note(test, "skipped")

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, "passed")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "passed unexpectedly")


def _text(err: Any) -> str:
    return "".join(traceback.format_exception(*err))


def main(result: str, modules: list[str]) -> None:
    """Run the tests of some modules and write the outcomes."""
    warnings.simplefilter("ignore")
    record = _Record()
    unittest.defaultTestLoader.loadTestsFromNames(modules).run(record)
    with open(result, "w", encoding="utf-8") as file:
        json.dump(record.outcomes, file)


if __name__ == "__main__":
    sys.path.insert(0, "")
    main(sys.argv[1], sys.argv[2:])
