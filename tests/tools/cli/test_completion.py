from __future__ import annotations

import json
import os
import shutil
import sys
from argparse import Action
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pexpect
import pytest

from qmi.core.context import QMI_Context
from qmi.runtime.flags import Flag
from qmi.tools.cli import candidates, commands, fetch
from qmi.tools.cli.candidates import FILES, answer
from qmi.tools.cli.commands import GROUPS, Command
from qmi.tools.cli.completion import SCRIPTS
from qmi.tools.cli.completion_cache import Cache, file_of, folder, learn, load
from qmi.tools.cli.main import main
from qmi.tools.cli.options import CommandParser
from tests.support import busy_lab
from tests.support.busy_lab import busy
from tests.support.cli import Cli
from tests.support.cli_terminal import plain
from tests.support.parameters import Supply
from tests.support.programs import ROOT

ALLOWED = fetch.LONGEST
"""How long it waits for the network, in seconds, but where tests are more patient."""


def nothing(config: str, workgroup: str, context: str, name: str) -> Cache:
    return Cache()


def told(*words: str, shell: str = "zsh", ask: candidates.Fetch = nothing) -> list[str]:
    return [line.partition("\t")[0] for line in answer([shell, *words], ask).splitlines()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("complet", ["completion"]),
        ("--js", ["--json"]),
        ("ls --wa", ["--watch"]),
        ("ls --interval=", []),
        ("ls --config ", [FILES]),
        ("ls --config=", [FILES]),
        ("--config ", [FILES]),
        ("completion ", ["bash", "fish", "zsh"]),
        ("completion bash --js", ["--json"]),
        ("proc st", ["start", "stop", "status"]),
        ("proc systemd --out", ["--output"]),
        ("proc status --config ", [FILES]),
        ("driver n", ["new"]),
        ("driver stub --o", ["--output"]),
        ("driver nonsense --", []),
        ("drivers ", ["add", "list", "remove"]),
        ("drivers --folder ", [FILES]),
        ("certs re", ["renew", "revoke"]),
        ("nonsense ", []),
        ("--nonsense x", []),
    ],
)
def test_commands_and_options_are_completed(line: str, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = line.split(" ")
    if line.startswith("--nonsense"):
        assert main(["__complete", "zsh", *words]) == 1
        assert capsys.readouterr() == ("", "")
    elif line == "driver stub --o":
        assert any(word.startswith("--o") for word in told(*words))
    else:
        assert told(*words) == expected


def test_nothing_typed_shows_all_commands_and_options() -> None:
    found = told("")
    assert found[:1] == ["ls"]
    assert {"completion", "--json", "--config", "--help"} <= set(found)


@pytest.mark.parametrize("words", [[], ["bash"], ["bash", ""], ["zsh"], ["fish", ""]])
def test_odd_questions_of_a_shell_have_an_answer(words: list[str]) -> None:
    assert isinstance(answer(words, nothing), str)


def test_bash_splits_at_the_equals_sign() -> None:
    assert told("ls", "--config", "=", "x", shell="bash") == [FILES]
    assert told("ls", "--config", "=", shell="bash") == [FILES]


@pytest.fixture
def known(config: Path) -> Path:
    """The cache of that configuration knows a context."""
    cache = Cache()
    cache.saw_contexts(["lab", "lathe", "bench"])
    cache.saw_objects("lab", {"psu": "acme.Psu", "pump": "acme.Pump"})
    kinds = {"methods": {"set_voltage": "Set it."}, "parameters": {"voltage": "It."}, "signals": {"sig_v": "float"}}
    cache.saw_members("lab", "psu", "acme.Psu", kinds)
    learn(file_of(str(config), ""), cache)
    return config


ARGUMENTS: dict[str, dict[str, list[str]]] = {
    "CONTEXT": {"": ["lab", "lathe", "bench"], "la": ["lab", "lathe"], "lab.": [], "x": []},
    "CONTEXT.OBJECT": {"la": ["lab.", "lathe."], "lab.p": ["lab.psu", "lab.pump"], "bench.": [], "lab.psu.": []},
    "CONTEXT[.OBJECT]": {"la": ["lab", "lathe"], "lab.": ["lab.psu", "lab.pump"]},
    "CONTEXT.OBJECT.NAME": {
        "lab.ps": ["lab.psu."],
        "lab.psu.": ["lab.psu.set_voltage", "lab.psu.voltage", "lab.psu.sig_v"],
        "lab.psu.v": ["lab.psu.voltage"],
        "lab.pump.": [],
    },
    "CONTEXT.OBJECT.METHOD": {"lab.psu.": ["lab.psu.set_voltage"]},
    "CONTEXT.OBJECT.PARAMETER": {"lab.psu.": ["lab.psu.voltage"]},
    "CONTEXT.OBJECT.SIGNAL": {"lab.psu.": ["lab.psu.sig_v"]},
    "FILE": {"": [FILES]},
    "VALUE": {"": []},
}


@pytest.mark.parametrize("metavar", ARGUMENTS)
def test_names_are_completed_as_the_argument_says(metavar: str, known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def add_arguments(parser: CommandParser) -> None:
        parser.add_argument("what", metavar=metavar)
        parser.add_argument("--also", metavar=metavar)

    monkeypatch.setitem(sys.modules, "trial", SimpleNamespace(add_arguments=add_arguments))
    monkeypatch.setitem(GROUPS, "tests", {"try": Command("try", "trial")})
    for current, expected in ARGUMENTS[metavar].items():
        assert told("--config", str(known), "try", current) == expected
        assert told("try", "--config", str(known), "--also", current) == expected
        assert told("try", f"--config={known}", "--", current) == expected


def test_own_completer_of_an_argument_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_arguments(parser: CommandParser) -> None:
        action: Action = parser.add_argument("what")
        action.completer = lambda prefix, config: ["one", "other", config]  # type: ignore[attr-defined]

    monkeypatch.setitem(sys.modules, "trial", SimpleNamespace(add_arguments=add_arguments))
    monkeypatch.setitem(GROUPS, "tests", {"try": Command("try", "trial")})
    assert told("try", "o") == ["one", "other"]
    assert told("--config", "two.conf", "try", "t") == ["two.conf"]


# What is learned


def test_commands_remember_what_they_learn(lab: QMI_Context, cli: Cli, config: Path) -> None:
    lab.make_instrument("psu", Supply)
    cli("ls")
    assert told("--config", str(config), "ls", "") == ["lab"]
    assert told("--config", str(config), "ls", "lab.") == ["lab.psu"]
    cli("ls", "lab.psu")
    members = load(file_of(str(config), "")).contexts["lab"].members["psu"].kinds
    assert {"set_voltage", "get_voltage"} & set(members["methods"])
    assert members["parameters"]


def test_what_is_gone_is_not_completed_any_more(lab: QMI_Context, cli: Cli, config: Path) -> None:
    counter = lab.make_rpc_object("worker", busy_lab.Worker)
    cli("ls", "lab")
    lab.remove_rpc_object(counter)
    cli("ls", "lab")
    assert told("--config", str(config), "ls", "lab.") == []


def test_network_is_asked_for_what_is_not_known(lab: QMI_Context, config: Path) -> None:
    with busy(lab):
        assert told("--config", str(config), "ls", "", ask=fetch.fetch) == ["lab"]
        assert told("--config", str(config), "ls", "lab.p", ask=fetch.fetch) == ["lab.psu"]
        found = fetch.fetch(str(config), "", "lab", "psu").contexts["lab"].members["psu"].kinds["methods"]
        assert found["set_voltage"] == "Set the voltage."
        assert told("--config", str(config), "ls", "lab.p") == ["lab.psu"]
        assert busy_lab.CALLED == []
        assert all(entry.calls <= 2 for entry in lab.get_status().objects if entry.name != "regulator")


def test_network_is_waited_for_no_longer_than_allowed(
    lab: QMI_Context, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from qmi.tools.cli import overview

    monkeypatch.setattr(fetch, "LONGEST", ALLOWED)
    waited: list[float | None] = []
    hangs = threading.Event()

    class Impatient(Flag):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout)
            return super().wait(0.001)

    monkeypatch.setattr(overview, "look", lambda lab, names: hangs.wait(20))
    monkeypatch.setattr(fetch, "Flag", Impatient)
    assert fetch.fetch(str(config), "", "lab", "") == Cache()
    hangs.set()
    assert waited == [0.3]


def test_what_was_known_is_used_where_the_network_is_silent(known: Path) -> None:
    path = Path(file_of(str(known), ""))
    old = json.loads(path.read_text())
    old["learned"] = old["contexts"]["lab"]["learned"] = 1.0
    path.write_text(json.dumps(old))
    asked: list[tuple[str, str]] = []

    def silent(config: str, workgroup: str, context: str, name: str) -> Cache:
        asked.append((context, name))
        return Cache()

    assert told("--config", str(known), "ls", "la", ask=silent) == ["lab", "lathe"]
    assert told("--config", str(known), "ls", "lab.", ask=silent) == ["lab.psu", "lab.pump"]
    assert asked == [("", ""), ("lab", "")]


@pytest.mark.parametrize("text", ["", "[]", "7", '{"contexts": 7}', '{"contexts": {"a": {}}, "learned": 0}', "\xff"])
def test_damaged_cache_is_an_empty_one(text: str, config: Path) -> None:
    path = Path(file_of(str(config), ""))
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="latin-1")
    assert load(str(path)) == Cache()
    cache = Cache()
    cache.saw_contexts(["lab"])
    learn(str(path), cache)
    assert list(load(str(path)).contexts) == ["lab"]
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == [path.name]


def test_cache_that_cannot_be_written_is_no_error(lab: QMI_Context, cli: Cli, home: Path) -> None:
    (home / ".cache").write_text("not a folder")
    (home / "Library").write_text("not a folder")
    assert cli("ls").code == 0


def test_laboratories_do_not_share_their_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = [file_of("a.conf", ""), file_of("b.conf", ""), file_of("a.conf", "w"), file_of("", "")]
    assert len(set(paths)) == 4
    assert file_of(os.path.abspath("a.conf"), "") == paths[0]
    monkeypatch.setenv("QMI_CONFIG", "a.conf")
    assert file_of("", "") == paths[0]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder() == str(tmp_path / "qmi")


# Real shells


@pytest.mark.parametrize("shell", SCRIPTS)
def test_script_is_printed_with_where_it_belongs(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert f"qmi completion {shell}" in printed
    assert "For every shell" in printed


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "qmi"
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom qmi.tools.cli.main import main\nsys.exit(main())\n")
    program.chmod(0o755)
    return folder


INVOKED = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}
LOADED = {
    "bash": 'eval "$(qmi completion bash)"',
    "zsh": 'autoload -Uz compinit; compinit -u -D; eval "$(qmi completion zsh)"',
    "fish": "qmi completion fish | source",
}


@pytest.fixture
def typed(request: pytest.FixtureRequest, programs: Path, known: Path) -> Iterator[pexpect.spawn[str]]:
    shell: str = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    environment = {
        **os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "TERM": "xterm", "QMI_CONFIG": str(known),
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    terminal = pexpect.spawn(
        shell, INVOKED[shell], env=environment, cwd=str(known.parent), encoding="utf-8", codec_errors="replace",
        timeout=30, dimensions=(40, 120),
    )  # fmt: skip
    terminal.sendline(f"{LOADED[shell]}; echo load''ed")
    terminal.expect("loaded")
    yield terminal
    terminal.close(force=True)


SHELLS = [pytest.param(shell, marks=[] if shell == "bash" else pytest.mark.slow) for shell in ("bash", "zsh", "fish")]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("typed", SHELLS, indirect=True)
def test_shell_completes_commands_options_and_names(typed: pexpect.spawn[str]) -> None:
    """Each line is completed by Tab, and shown by echo when the shell runs it."""
    for begin, end in (("lab.ps", r"lab\.psu"), ("--wa", "--watch")):
        typed.send(f"qmi ls {begin}\t")
        typed.expect(end)
        typed.send("\x15")
        typed.sendline("echo rea''dy")
        typed.expect("ready")
    typed.send("qmi ls la\t\t")
    typed.expect("lathe")
    typed.send("\x03")
    assert "Traceback" not in plain(typed.before)


@pytest.mark.parametrize("name", commands.names())
def test_options_of_every_command_complete(name: str) -> None:
    found = candidates.complete([name], "--h", lambda *_: Cache())
    assert [candidate.value for candidate in found] == ["--help"]
