"""What an interactive shell shows of proxies: completion, signatures, documentation, the driver's source."""

from __future__ import annotations

import pydoc
import re
from collections.abc import Iterator
from typing import Any

import pytest

import qmi
from qmi.core.driver import Reading, Snapshot
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from tests.support.drivers import Limited
from tests.support.lab import two_contexts
from tests.support.parameters import Supply

pytest.importorskip("IPython")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
METHODS = {"get_sample", "set_amplitude", "open"}


@pytest.fixture(scope="module")
def shell() -> Any:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    make: Any = InteractiveShell
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.color_info = False
    # It would warn if the variable VIRTUAL_ENV names another environment than the one that runs the tests.
    config.InteractiveShell.warn_venv = False
    return make(config=config)


@pytest.fixture
def nsg(shell: Any) -> Iterator[Any]:
    with qmi.start("shell", None, init_logging=False):
        nsg = qmi.make_instrument("nsg", NoisySineGenerator)
        shell.user_ns["nsg"] = nsg
        yield nsg


def completions(shell: Any, text: str, use_jedi: bool) -> set[str]:
    shell.Completer.use_jedi = use_jedi
    if not use_jedi:
        return {match.rpartition(".")[2] for match in shell.Completer.complete(text)[1]}
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        return {found.text.rpartition(".")[2] for found in shell.Completer.completions(text, len(text))}


@pytest.mark.parametrize("use_jedi", [False, True])
@pytest.mark.parametrize("text", ["nsg.", "nsg.rpc_nonblocking.", "nsg.rpc_async.", "nsg.rpc_async.rpc_blocking."])
def test_shell_completes_methods(shell: Any, nsg: Any, text: str, use_jedi: bool) -> None:
    if use_jedi:
        pytest.importorskip("jedi")
    assert completions(shell, text, use_jedi) >= METHODS
    prefixed = completions(shell, text + "get_s", use_jedi)
    assert "get_sample" in prefixed


def inspected(shell: Any, name: str, level: int) -> str:
    found = shell.object_inspect_mime(name, detail_level=level)
    return re.sub(r"\x1b\[[0-9;]*m", "", found["text/plain"])


def test_shell_shows_the_source_of_the_driver(shell: Any, nsg: Any) -> None:
    assert "class NoisySineGenerator(QMI_Instrument):" in inspected(shell, "nsg", 1)
    assert "def get_sample(self) -> float:" in inspected(shell, "nsg.get_sample", 1)
    assert "def get_sample(self) -> float:" in inspected(shell, "nsg.rpc_nonblocking.get_sample", 1)


def test_shell_shows_signature_and_documentation(shell: Any, nsg: Any) -> None:
    text = inspected(shell, "nsg.set_amplitude", 0)
    assert "nsg.set_amplitude(" in text
    assert "amplitude: float" in text or "value: float" in text
    assert inspected(shell, "nsg", 0).count("A simulated generator of a sine wave") >= 1


def test_shell_asks_no_object_for_its_properties(shell: Any) -> None:
    with two_contexts() as (server, client):
        server.make_rpc_object("x", Limited)
        x: Any = client.get_rpc_object("server.x")
        shell.user_ns["limited"] = x
        assert x.lock()
        other: Any = client.get_rpc_object("server.x")
        shell.user_ns["limited"] = other
        for use_jedi in (False, True):
            assert {"LIMIT", "MAX"} <= completions(shell, "limited.", use_jedi)
            completions(shell, "limited.LIMIT.", use_jedi)
        assert x.unlock()


@pytest.fixture
def psu(shell: Any) -> Iterator[Any]:
    """A proxy that may not ask: the object is locked by another one."""
    with two_contexts() as (server, client):
        server.make_instrument("psu", Supply)
        holder: Any = client.get_instrument("server.psu")
        assert holder.lock()
        shell.user_ns["psu"] = psu = client.get_instrument("server.psu")
        yield psu
        assert holder.unlock()


@pytest.mark.parametrize("use_jedi", [False, True])
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("psu.", {"voltage", "get_voltage", "set_voltage", "channels", "parameters", "snapshot"}),
        ("psu.rpc_async.", {"get_voltage", "parameters"}),
        ("psu.parameters.", {"voltage", "current"}),
        ("psu.parameters.voltage.", {"get", "set", "limits", "unit"}),
        ("psu.channels[1].", {"voltage", "get_voltage", "ramp", "number"}),  # only jedi looks behind an index
    ],
)
def test_shell_completes_parameters(shell: Any, psu: Any, text: str, names: set[str], use_jedi: bool) -> None:
    if use_jedi:
        pytest.importorskip("jedi")
    assert completions(shell, text, use_jedi) >= (names if use_jedi or "[" not in text else set())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("psu.parameters['", {"voltage", "current", "channels[1].voltage"}),
        ("psu.parameters['vol", {"voltage"}),
        ("snapshot['", {"voltage", "channels[1].voltage"}),
    ],
)
def test_shell_completes_names_between_brackets(shell: Any, psu: Any, text: str, names: set[str]) -> None:
    readings = {"voltage": Reading(1.0, "V"), "channels[1].voltage": Reading(2.0, "V")}
    shell.user_ns["snapshot"] = Snapshot("lab.psu", "acme.Supply", 0.0, readings)
    shell.Completer.use_jedi = False
    matches = shell.Completer.complete(text)[1]
    assert names <= {match.partition("['")[2] for match in matches}


def test_shell_shows_what_a_parameter_is(psu: Any) -> None:
    text = pydoc.plain(pydoc.render_doc(psu))
    assert "Property of type float. Set voltage. From 0 to 30 V." in text
    assert "set_voltage(self, value: float, *, rpc_timeout: float | None = None) -> None" in text
    assert "get_voltage(self, *, rpc_timeout: float | None = None) -> float" in text
    assert "Channels 1 to 4. One output." in text
    assert "Property of type Mode. Mode.VOLTAGE or Mode.CURRENT." in text
    assert "Property of type float. Measured current. In A, can only be read." in text
    channel = pydoc.plain(pydoc.render_doc(psu.channels[1]))
    assert "One output." in channel
    assert "ramp(self, to: float, *, steps: int = 2, rpc_timeout: float | None = None) -> list[float]" in channel
    assert "Set voltage. From 0 to 30 V." in channel
    assert "_number" not in channel


def test_help_of_a_driver_shows_its_parameters() -> None:
    text = pydoc.plain(pydoc.render_doc(Supply))
    assert re.search(r"voltage\n \|      Parameter of type float\. Set voltage\. From 0 to 30 V\.", text)
    assert re.search(r"delay\n \|      Parameter of type float\. From 0\.5 to 10 s, in steps of 0\.1\.", text)
    assert "channels.ramp" not in text
