"""The reader and the comparison, without the tutorial and without a terminal."""

from __future__ import annotations

import re

import pytest

from tests.support.desk import expectation
from tests.support.tutorial import Session, Step, Tutorial

TEXT = """\
=====
Title
=====

First part
----------

Some words:

>>> import qmi
>>> for i in range(3):
...     print(i)
...
0
1
>>> x

Create a file ``old.txt`` and then a file ``demo.py``::

    import qmi

    print("a")

Now change ``demo.py``::

  print("b")

.. note::
    Indented prompts count as well:

    >>> deep
    42

Second part
===========

The configuration file ``qmi.conf``::

  {
      # Comment
      "a": 1
  }

Run it::

    python3 demo.py

>>> for c in d:
>>>    if c:
>>>        break
>>>
>>> f()
>>> -86.4
"""


@pytest.fixture
def text() -> Tutorial:
    return Tutorial(TEXT)


def test_sections_are_found_by_their_titles(text: Tutorial) -> None:
    assert list(text.sections) == ["Title", "First part", "Second part"]
    with pytest.raises(AssertionError, match=r"no section 'Third part'; it has .*'First part'"):
        text["Third part"]


def test_a_session_is_what_stands_together(text: Tutorial) -> None:
    first, second = text["First part"].sessions
    assert first == Session(
        (
            Step(10, ("import qmi",)),
            Step(11, ("for i in range(3):", "    print(i)", ""), ("0", "1")),
            Step(16, ("x",)),
        )
    )
    assert second == Session((Step(31, ("deep",), ("42",)),))


def test_prompts_before_the_rest_of_a_block_and_before_a_result_are_understood(text: Tutorial) -> None:
    (session,) = text["Second part"].sessions
    assert session.steps == (
        Step(48, ("for c in d:", "   if c:", "       break", "")),
        Step(52, ("f()",), ("-86.4",)),
    )


def test_files_are_found_by_the_name_that_was_told_last(text: Tutorial) -> None:
    assert text["First part"].file("demo.py") == 'print("b")\n'
    assert text["First part"].literal("import") == 'import qmi\n\nprint("a")\n'
    with pytest.raises(AssertionError, match=r"'Second part' has no file 'demo\.py'"):
        text["Second part"].file("demo.py")


def test_configuration_and_commands_are_found_by_their_look(text: Tutorial) -> None:
    assert text["Second part"].configuration == '{\n    # Comment\n    "a": 1\n}\n'
    assert text["Second part"].commands == ["python3 demo.py"]


def test_replacing_must_change_something(text: Tutorial) -> None:
    session = text["First part"].sessions[0]
    assert session.replace("range(3)", "range(1)").steps[1].source[0] == "for i in range(1):"
    with pytest.raises(AssertionError, match=r"'range\(4\)' is not in this session"):
        session.replace("range(4)", "range(1)")


def test_output_without_a_prompt_before_it_is_refused() -> None:
    with pytest.raises(ValueError, match="line 3 of the tutorial is no prompt"):
        Tutorial("\n\n    >>> y\n  x\n")


NUMBERS = [("18.026037686619105", True), ("-3.5", True), ("7e-05", True), ("eighteen", False), ("18.0 x", False)]


@pytest.mark.parametrize(("printed", "fits"), NUMBERS)
def test_long_numbers_may_differ(printed: str, fits: bool) -> None:
    pattern = expectation(Step(1, ("nsg1.get_sample()",), ("18.026037686619105",)), {})
    assert bool(re.fullmatch(pattern, printed)) is fits


@pytest.mark.parametrize(
    ("printed", "fits"),
    [
        ("2026-01-02 03:04:05.678 | WARNING  | qmi.core.rpc           | nsg forcefully unlocked!.", True),
        ("2026-01-02 03:04:05.678 | WARNING  | qmi.core.rpc           | nsg forcefully unlocked!", False),
        ("03:04:05.678 | WARNING  | qmi.core.rpc           | nsg forcefully unlocked!.", False),
    ],
)
def test_times_may_differ_but_nothing_else(printed: str, fits: bool) -> None:
    shown = "2021-11-30 14:54:47.437 | WARNING  | qmi.core.rpc           | nsg forcefully unlocked!."
    assert bool(re.fullmatch(expectation(Step(1, ("x",), (shown,)), {}), printed)) is fits


HEAD = "Traceback (most recent call last):"
FRAME = '  File "<stdin>", line 1, in <module>'


@pytest.mark.parametrize(
    ("last", "fits"),
    [
        ("qmi.core.exceptions.QMI_RuntimeException: It is locked", True),
        ("qmi.core.exceptions.QMI_LockedException: It is locked: by a.b", True),
        ("qmi.core.exceptions.QMI_LockedException: It was locked", False),
        ("qmi.errors.QMI_RuntimeException: It is locked", False),
        ("ValueError: It is locked", False),
    ],
)
def test_traceback_is_compared_by_its_last_line(last: str, fits: bool) -> None:
    shown = ("log", HEAD, '  File "/old.py", line 7, in f', "qmi.core.exceptions.QMI_RuntimeException: It is locked")
    pattern = expectation(Step(1, ("x",), shown), {})
    printed = "\n".join(["log", HEAD, FRAME, FRAME, last])
    assert bool(re.fullmatch(pattern, printed)) is fits


def test_reader_takes_expectations_that_the_tutorial_does_not_show() -> None:
    assert expectation(Step(1, ("a = 1",)), {}) == ""
    assert expectation(Step(1, ("help(nsg)",)), {"help(": "text"}) == "text"
    assert expectation(Step(1, ('qmi.start("a")',)), {"qmi.start(": "log"}) == "log"
