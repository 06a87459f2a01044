from __future__ import annotations

import json
from typing import Any

import json5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.config.parser import parse, strip_comments
from qmi.errors import QMI_ConfigurationException
from tests.support.config_strategies import json_values
from tests.support.examples import examples


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"a": 1} # end', {"a": 1}),
        ("# first\n{}", {}),
        ("{\"a\": \"#1\", 'b': '# it\\'s', // it's # here\n c: /* \" # */ 2,}", {"a": "#1", "b": "# it's", "c": 2}),
        ('{"a": "say \\"#\\"" # "quoted"\n}', {"a": 'say "#"'}),
        ("\ufeff[]", []),
        ("{a: [.5, +1, 0x10, 1e3, null, true,]}", {"a": [0.5, 1, 16, 1000.0, None, True]}),
        (r'["\ud83d\ude00", "\ud800", "\ude00x"]', ["\U0001f600", "\ud800", "\ude00x"]),
        ("{a: 'two \\\nlines'}", {"a": "two lines"}),
        (r"{a: '\'\"\\\/\b\f\n\r\t\v\0\x41\u00b5'}", {"a": "'\"\\/\b\f\n\r\t\v\0Aµ"}),
    ],
)
def test_json5_with_hash_comments_is_read(text: str, values: Any) -> None:
    assert parse(text, "here") == values


@given(json_values)
@examples(100)
def test_all_of_json_is_read(values: Any) -> None:
    text = json.dumps(values)
    assert repr(parse(text, "here")) == repr(json.loads(text))
    # The last comma is none of JSON's: the other reader finds the same.
    assert repr(parse(f"[{text},]", "here")) == repr([json.loads(text)])


@given(st.text(st.sampled_from("{}[]:,\"'ab1.#/*\\ \n+-e0x")) | st.text(max_size=20))
@examples(300)
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    faults: tuple[str, ...] = ()
    try:
        parse(text, "here")
    except QMI_ConfigurationException as error:
        faults = error.faults
        assert all(": " in fault for fault in faults)
    assert faults or json5.loads(strip_comments(text)) is not ...


@given(st.text(st.sampled_from("#\"'\\/*ab\n ")))
@examples(200)
def test_text_without_its_comments_keeps_its_lines_and_columns(text: str) -> None:
    stripped = strip_comments(text)
    assert [len(line) for line in stripped.split("\n")] == [len(line) for line in text.split("\n")]


def test_keys_that_occur_twice_are_all_told() -> None:
    with pytest.raises(QMI_ConfigurationException) as caught:
        parse('{"a": [{}, {"b": 1, b: 2, "b": 3}], "c": {}, "c": {"d e": 1, "d e": 1}}', "here")
    assert caught.value.faults == (
        "c: the key occurs more than once, expected it once",
        "a[1].b: the key occurs more than once, expected it once",
        'c["d e"]: the key occurs more than once, expected it once',
    )


@pytest.mark.parametrize("text", ["[" * 5000, "[" * 5000 + "]" * 5000, "[" * 5000 + ",]" * 5000])
def test_configuration_that_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(QMI_ConfigurationException, match="nested too deeply"):
        parse(text, "here")


@pytest.mark.parametrize("letter", [chr(code) for code in range(32, 127) if chr(code) not in "'\"\\/bfnrtv0ux"])
def test_an_escape_that_means_nothing_is_refused(letter: str) -> None:
    for text in (f'{{"a": "C:\\{letter}x"}}', f"{{a: 'C:\\{letter}x',}}", f'{{"C:\\{letter}x": 1,}}'):
        with pytest.raises(QMI_ConfigurationException, match=r"found the unknown escape .* in "):
            parse(text, "here")


def test_a_number_too_long_to_be_read_is_refused() -> None:
    with pytest.raises(QMI_ConfigurationException, match="expected JSON5 that can be read, found: Exceeds the limit"):
        parse("9" * 5000, "here")
