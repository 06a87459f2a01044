from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.config.schema import CfgContext, CfgLimits, CfgQmi
from qmi.config.structure import add_contexts, checked, path_text, structure, unstructure
from qmi.errors import QMI_ConfigurationException
from qmi.records import asdict
from tests.support.config_strategies import configurations, json_values
from tests.support.examples import examples

A_NAME = "a name of 1 to 63 letters, digits, '-', '_', '(' or ')'"


@given(configurations)
@examples(60)
def test_a_configuration_survives_being_unstructured(config: CfgQmi) -> None:
    plain = unstructure(config)
    assert structure(json.loads(json.dumps(plain))) == config
    assert checked(config) == config


@given(json_values | st.dictionaries(st.integers() | st.none(), json_values, max_size=2))
@examples(200)
def test_plain_values_make_a_configuration_or_a_list_of_faults(values: object) -> None:
    config: CfgQmi | None = None
    faults: tuple[str, ...] = ()
    try:
        config = structure(values)
    except QMI_ConfigurationException as error:
        faults = error.faults
    assert bool(faults) == (config is None)
    assert config is None or checked(config) == config


def test_checking_returns_a_copy() -> None:
    config = CfgQmi(contexts={"a": CfgContext(connect_to_peers=["b"])})
    copy = checked(config)
    copy.contexts["a"].connect_to_peers.append("c")
    assert config.contexts["a"].connect_to_peers == ["b"]


def test_checking_finds_what_a_program_put_into_a_configuration() -> None:
    config = CfgQmi(workgroup=5, limits=3, contexts={1: 2})  # type: ignore[arg-type, dict-item]
    with pytest.raises(QMI_ConfigurationException) as caught:
        checked(config)
    assert caught.value.faults == (
        f"workgroup: expected {A_NAME}, found 5",
        f"contexts[1]: name: expected {A_NAME}, found 1",
        "contexts[1]: expected an object {...}, found 2",
        "limits: expected an object {...}, found 3",
    )


def test_whole_seconds_are_stored_as_floats() -> None:
    assert type(checked(CfgQmi(limits=CfgLimits(hello_timeout=3))).limits.hello_timeout) is float


def test_check_takes_only_a_configuration() -> None:
    with pytest.raises(QMI_ConfigurationException, match="expected a CfgQmi, found an object"):
        checked({})  # type: ignore[arg-type]


KNOWN = CfgQmi(contexts={"a": CfgContext(host="lab", enabled=True)})


@pytest.mark.parametrize(
    ("added", "contexts"),
    [
        (None, KNOWN.contexts),
        ({}, KNOWN.contexts),
        ({"a": {"host": "pc"}}, {"a": CfgContext(host="pc", enabled=True)}),
        ({"a": CfgContext(host="pc")}, {"a": CfgContext(host="pc")}),
        ({"b": {"tcp_server_port": 1}}, {**KNOWN.contexts, "b": CfgContext(tcp_server_port=1)}),
        ({"b": CfgContext(stop_grace=0)}, {**KNOWN.contexts, "b": CfgContext(stop_grace=0.0)}),
    ],
)
def test_contexts_of_a_program_are_added(added: Any, contexts: dict[str, CfgContext]) -> None:
    before = asdict(KNOWN)
    assert add_contexts(KNOWN, added).contexts == contexts
    assert asdict(KNOWN) == before


@pytest.mark.parametrize(
    ("added", "faults"),
    [
        (
            {"a": {"prt": 1, "tcp_server_port": "1"}, "b.c": {}, "d": 5, "e": CfgContext(enabled=1)},  # type: ignore[arg-type]
            (
                f'context_cfg["b.c"]: name: expected {A_NAME}, found "b.c"',
                'context_cfg.a.tcp_server_port: expected a port number from 0 to 65535, found "1"',
                f"context_cfg.a.prt: unknown key; known here are {', '.join(CfgContext.__struct_fields__)}",
                "context_cfg.d: expected an object {...}, found 5",
                "context_cfg.e.enabled: expected true or false, found 1",
            ),
        ),
        ([1], ("context_cfg: expected an object {...}, found a list [...]",)),
    ],
)
def test_bad_contexts_of_a_program_are_refused(added: Any, faults: tuple[str, ...]) -> None:
    with pytest.raises(QMI_ConfigurationException) as caught:
        add_contexts(KNOWN, added)
    assert caught.value.faults == faults


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("a", "b-(1)"), "a.b-(1)"),
        (("a", 2, "b"), "a[2].b"),
        (("a", "b.c", "µ d"), 'a["b.c"]["µ d"]'),
        (("", 'say "x"'), '[""]["say \\"x\\""]'),
        ((5, None), "[5][None]"),
    ],
)
def test_paths_are_written_as_in_a_program(path: tuple[object, ...], text: str) -> None:
    assert path_text(path) == text
