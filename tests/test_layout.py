from __future__ import annotations

import ast
import functools
import gc
import graphlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
# The modules that are marked "P" in DESIGN.md, and those that were split off from them.
PURE = {
    "qmi.errors",
    "qmi.names",
    "qmi.messages",
    "qmi.config.validators",
    "qmi.config.schema",
    "qmi.config.structure",
    "qmi.config.parser",
    "qmi.data.column_values",
    "qmi.data.index_queries",
    "qmi.data.log_contents",
    "qmi.data.plot_layout",
    "qmi.data.plot_ticks",
    "qmi.data.record_format",
    "qmi.data.row_batches",
    "qmi.data.row_format",
    "qmi.parameters.blocks",
    "qmi.parameters.capabilities",
    "qmi.parameters.scpi_binding",
    "qmi.parameters.scpi_text",
    "qmi.parameters.snapshot",
    "qmi.scan.description",
    "qmi.scan.lost",
    "qmi.scan.points",
    "qmi.scan.ramps",
    "qmi.scan.thresholds",
    "qmi.simulation.conversation",
    "qmi.simulation.declared",
    "qmi.simulation.device",
    "qmi.simulation.faults",
    "qmi.simulation.framing",
    "qmi.simulation.headers",
    "qmi.simulation.node",
    "qmi.simulation.scpi_errors",
    "qmi.simulation.simulator",
    "qmi.simulation.sources",
    "qmi.simulation.travelling",
    "qmi.actors.fair_queue",
    "qmi.actors.lock_rules",
    "qmi.actors.tasks.schedule",
    "qmi.actors.interface",
    "qmi.actors.pubsub.subscriptions",
    "qmi.parameters.access",
    "qmi.parameters.channels",
    "qmi.parameters.checks",
    "qmi.parameters.declaration",
    "qmi.parameters.declared",
    "qmi.parameters.info",
    "qmi.parameters.rules",
    "qmi.parameters.units",
    "qmi.net.protocol.packets",
    "qmi.net.io.link_quota",
    "qmi.net.codec",
    "qmi.net.protocol.handshake",
    "qmi.net.protocol.connection",
    "qmi.net.discovery.packets",
    "qmi.presenting.annotation_types",
    "qmi.presenting.argument_text",
    "qmi.presenting.call_arguments",
    "qmi.presenting.quantity_text",
    "qmi.presenting.value_text",
    "qmi.site.presence",
    "qmi.site.server_config",
    "qmi.site.envelope",
    "qmi.site.feed",
    "qmi.site.subjects",
    "qmi.site.wire",
    "qmi.proc.helper_protocol",
    "qmi.proc.order",
    "qmi.proc.control_protocol",
    "qmi.proc.selection",
    "qmi.proc.status",
}


def contract(name: str) -> dict[str, Any]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (found,) = (c for c in settings["tool"]["importlinter"]["contracts"] if c["name"].startswith(name))
    return dict(found)


def exists(module: str) -> bool:
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def test_every_pure_module_is_watched() -> None:
    watched = set(contract("Rules are pure")["source_modules"])
    assert {module for module in PURE if exists(module)} <= watched


def test_drivers_are_kept_from_every_room_but_the_public_one() -> None:
    public = {"qmi.core", "qmi.instruments", "qmi._version"}
    rooms = {f"qmi.{path.stem}" for path in (ROOT / "qmi").iterdir() if not path.name.startswith("__")}
    rooms = {room for room in rooms if exists(room)}
    assert rooms - public <= set(contract("Drivers see only")["forbidden_modules"])


def test_imports_keep_to_the_layers() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    if not lint.exists():
        pytest.skip("import-linter is not installed beside this Python")
    run = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture(scope="module", autouse=True)
def _forget_the_trees() -> Iterator[None]:
    gc.disable()  # a million objects, which each collection would look at
    yield
    gc.enable()
    for cached in (sources, nodes_of, nodes_of_tests):
        cached.cache_clear()


@functools.cache
def nodes_of_tests() -> dict[str, list[ast.AST]]:
    """The nodes of each file of the tests."""
    paths = sorted((ROOT / "tests").rglob("*.py"))
    return {str(path.relative_to(ROOT)): list(ast.walk(ast.parse(path.read_text()))) for path in paths}


def imported_modules(path: Path) -> set[str]:
    """The modules of the tests that a file imports, those of the programs in its texts included."""
    text = path.read_text()
    nodes = nodes_of_tests()[str(path.relative_to(ROOT))]
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= set(re.findall(r"(?:from|import) (tests\.[\w.]+)", text))
    return {module for module in modules if module.partition(".")[0] == "tests"}


def test_test_helpers_live_in_support() -> None:
    """The programs of ``make faults``, ``make fuzz`` and ``make soak`` are packages of their own, with their tests."""
    wrong = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        package = ".".join(path.relative_to(ROOT).parent.parts)
        allowed = ["tests.support"] + [package] * (path.parent / "__main__.py").exists()
        found = {
            module
            for module in imported_modules(path)
            if not module.startswith(tuple(allowed)) or module.rpartition(".")[2].startswith(("test_", "conftest"))
        }
        if found:
            wrong[str(path.relative_to(ROOT))] = found
    assert wrong == {}, "helpers of tests live in tests/support"


POLLING = {"time.sleep", "trio.sleep", "asyncio.sleep", "os.sched_yield"}
PERIODIC = {
    # What it does again and again is a load, a user's program or driver, or a retry, not a wait.
    "tests/faults/test_link_faults.py",
    "tests/soak/load_async.py",
    "tests/soak/test_restart.py",
    "tests/support/chaos.py",
    "tests/support/managed_programs/heater.py",
    "tests/support/managed_programs/quiet.py",
    "tests/support/managed_programs/talker.py",
    "tests/testing/test_check_driver.py",
    "tests/testing/test_simulated_time.py",
}


def test_tests_do_not_poll() -> None:
    """A loop that sleeps waits for something: that is what ``tests/support/waiting.py`` and ``outside.py`` are for."""
    found = set()
    for path, nodes in nodes_of_tests().items():
        loops = [node for node in nodes if isinstance(node, (ast.While, ast.For))]
        inner = {id(node): node for loop in loops for node in ast.walk(loop)}.values()  # once, in loops of loops, too
        if POLLING & {ast.unparse(node.func) for node in inner if isinstance(node, ast.Call)}:
            found.add(path)
    assert found - PERIODIC == set(), "wait with wait_until() or until() of tests.support.waiting"


# -- types

ANY_PER_THOUSAND_LINES = 15
USERS_VALUES = {
    "Actor.object": "the object itself, of a class of the user's",
    "QMI_RpcObject._context": "the context as the author of a driver knows it: QMI_Context, which is a layer above",
    "BaseChannel.instrument": "the instrument, likewise",
    "Reading.value": "the value of a parameter, of the type that its declaration says",
    "Change.before": "likewise",
    "Change.after": "likewise",
    "QMI_RpcObject.parameters": "that of objects with parameters, or a method of the driver's author",
    "QMI_RpcObject.reserve": "likewise: what proxies do, or a setting of the driver's author",
    "QMI_RpcObject.snapshot": "likewise",
    "QMI_RpcObject.restore": "likewise",
    "QMI_RpcObject.sig_changed": "likewise",
    "DataSet.attrs": "whatever the user wants to say of his data",
    "QMI_Task.settings": "whatever the author of the task wants",
    "QMI_Task.status": "likewise",
    "QMI_LoopTask._status_fifo": "the same, where authors keep it until it is published",
    "_Received.args": "arguments of a signal",
    "UnknownTypeValue.fields": "fields of a value whose type is not here",
    "HostedParameter.get": "functions that take a driver of another library, and values of it",
    "HostedParameter.set": "likewise",
    "HostedParameter.limits": "likewise",
    "HostedMethod.call": "likewise",
    "HostedChannels.find": "likewise",
    "Source.driver_class": "the class of such a driver",
    "HostedInstrument._hosted_driver": "such a driver",
    "RecordedCall.args": "arguments of a call that a test looks at",
    "RecordedCall.kwargs": "likewise",
    "Reconnect.identify": "a function of the user's, of whichever transport he has",
    "Reconnect.restore": "likewise",
    "Line._resynchronize": "likewise",
    "ScpiText.write": "a value of a parameter",
    "ScpiText.read": "likewise",
    "Run._instruments": "proxies of drivers of the user's",
    "Device.proxy": "a proxy of a driver of the user's",
    "Proxies._found": "likewise",
    "ApiCall.body": "what somebody has sent as JSON",
    "ApiCall.query": "likewise, behind the question mark",
    "Found.proxy": "a proxy of a driver of the user's",
    "Found.target": "likewise, or a channel of it",
    "Place.proxy": "likewise",
    "_Binding._reader": "a function that takes what somebody has given for an argument",
    # Tables of functions: each takes values of the type, or the kind, that it is found by.
    "Row.lower": "a value of one of the types of the row",
    "BY_TYPE": "a value of the type that the function is found by",
    "_METHODS": "likewise",
    "_PACKERS": "a list of values of that type",
    "_AT_ONCE": "a list of values of that type",
    "_READERS": "the payload of a packet of that kind, as its bounds have found it",
}
"""Attributes that may be of type ``Any``, or be made of it, and what they hold or take."""

PUBLIC_ALL_THE_SAME = {
    "os._exit", "sys._getframe", "sys._current_frames", "asyncio._get_running_loop", "trio._core",
    "inspect._ParameterKind",
}  # fmt: skip
"""Names of other libraries that begin with an underscore. Of trio's, forks.py says what if they are not there."""
OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}


@functools.cache
def sources() -> dict[str, ast.Module]:
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in sorted((ROOT / "qmi").rglob("*.py"))}


@functools.cache
def nodes_of(path: str) -> list[ast.AST]:
    """The nodes of a file of the package."""
    return list(ast.walk(sources()[path]))


def names_any(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Name) and part.id == "Any" for part in ast.walk(node))


def annotated_attributes(node: ast.AST, owner: str = "", *, local: bool = False) -> Iterator[tuple[str, ast.expr]]:
    """The attributes of classes and modules that have an annotation, or that a parameter with one is put into."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        local = True
        parameters = {a.arg: a.annotation for a in (*node.args.args, *node.args.kwonlyargs) if a.annotation is not None}
        for part in ast.walk(node):
            if isinstance(part, ast.Assign) and isinstance(part.value, ast.Name) and part.value.id in parameters:
                targets = (target.attr for target in part.targets if isinstance(target, ast.Attribute))
                yield from ((f"{owner}.{target}", parameters[part.value.id]) for target in targets)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from annotated_attributes(child, child.name)
            continue
        if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Attribute):
            yield f"{owner}.{child.target.attr}", child.annotation
        elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name) and not local:
            yield f"{owner}.{child.target.id}".lstrip("."), child.annotation
        yield from annotated_attributes(child, owner, local=local)


def own_names(module: ast.Module) -> set[str]:
    """What a file defines: functions, classes, variables, attributes of its own objects, slots, imported names."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def is_own(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("_") and name not in OF_NAMED_TUPLES


def uses_of_privates(module: ast.Module) -> Iterator[str]:
    """The private names that a file uses of objects and modules that are defined elsewhere."""
    own = own_names(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_own(node.value):
            of_super = isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()"
            if node.attr not in own and not of_super and ast.unparse(node) not in PUBLIC_ALL_THE_SAME:
                yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qmi."):
            yield from (f"line {node.lineno}: {node.module}.{a.name}" for a in node.names if is_private(a.name))


def test_any_is_rare() -> None:
    count = sum(isinstance(node, ast.Name) and node.id == "Any" for path in sources() for node in nodes_of(path))
    texts = [(ROOT / path).read_text() for path in sources()]
    code = sum(1 for text in texts for line in text.splitlines() if line.strip() and not line.strip().startswith("#"))
    assert 1000 * count / code <= ANY_PER_THOUSAND_LINES


def test_any_has_no_other_name() -> None:
    wrong = [
        f"{path}: {ast.unparse(node)}"
        for path in sources()
        for node in nodes_of(path)
        if (isinstance(node, ast.alias) and node.name == "Any" and node.asname)
        or (
            isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Name) and node.value.id == "Any"
        )
    ]
    assert wrong == []


def test_attributes_of_type_any_hold_values_of_users() -> None:
    found = {
        name
        for module in sources().values()
        for name, annotation in annotated_attributes(module)
        if names_any(annotation)
    }
    assert found - USERS_VALUES.keys() == set(), "give it a type; or say in USERS_VALUES which value of a user it holds"


def test_private_attributes_are_used_in_their_own_file_alone() -> None:
    found = {path: list(uses_of_privates(module)) for path, module in sources().items()}
    assert {path: uses for path, uses in found.items() if uses} == {}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("x: Any = 1", ["x"]),
        ("class A:\n x: dict[str, Any]", ["A.x"]),
        ("if 1:\n class A:\n  if 1:\n   x: Any", ["A.x"]),
        ("class A:\n def f(self):\n  self.x: Any = 1\n  y: Any = 2", ["A.x"]),
        ("class A:\n def f(self, y: Any): self.x = y", ["A.x"]),
        ("class A:\n def f(self, y: Any): self.x = len(y)", []),
        ("def f():\n if 1:\n  y: Any = 1", []),
    ],
)
def test_attributes_of_type_any_are_found(source: str, names: list[str]) -> None:
    assert [name for name, kind in annotated_attributes(ast.parse(source)) if names_any(kind)] == names


@pytest.mark.parametrize(
    ("source", "uses"),
    [
        ("def f(x): return x._secret", ["line 1: x._secret"]),
        ("def f(): return g()._secret", ["line 1: g()._secret"]),
        ("class A:\n def f(self): return self.other._secret", ["line 2: self.other._secret"]),
        ("class A:\n def f(self, other): self._x = other._x", []),
        ("class A:\n __slots__ = ('_x',)\ndef f(a: A): a._x = 1", []),
        ("class A(B):\n def f(self): return self._of_b + super()._f()", []),
        ("from qmi.names import _rule", ["line 1: qmi.names._rule"]),
        ("def f(pair): return pair._replace(a=1)", []),
    ],
)
def test_uses_of_privates_are_found(source: str, uses: list[str]) -> None:
    assert list(uses_of_privates(ast.parse(source))) == uses


def imported_files(module: ast.Module) -> set[str]:
    """The files of the package that a file imports: when it is loaded, in its functions, and for type checkers."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "qmi":
            found |= {file_of(f"{node.module}.{alias.name}") or file_of(str(node.module)) for alias in node.names}
    return found


def file_of(module: str) -> str:
    name = module.replace(".", "/")
    return next((path for path in (f"{name}.py", f"{name}/__init__.py") if path in sources()), "")


def test_no_files_import_each_other_in_a_circle() -> None:
    left = {path: imported_files(module) - {path} for path, module in sources().items()}
    # Take away what imports nothing that is left, until all is gone; what stays is in a circle or leads into one.
    while leaves := {path for path, imported in left.items() if not imported & left.keys()}:
        left = {path: imported for path, imported in left.items() if path not in leaves}
    assert left == {}


# -- circles and sizes


def test_files_never_import_each_other_in_a_circle() -> None:
    """Imports for type checkers and those within functions count, too."""
    modules = {
        ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__"): sources()[path] for path in sources()
    }
    imports: dict[str, set[str]] = {}
    for module, tree in modules.items():
        found = imports[module] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                found |= {name if name in modules else str(node.module) for name in names}
        imports[module] &= modules.keys() - {module}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imported by ".join(error.args[1]))


def test_files_and_functions_keep_their_sizes() -> None:
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in sources()}
    assert {path: number for path, number in lines.items() if number > 800} == {}
    long = [
        f"{path}: {node.name}()"
        for path in sources()
        for node in nodes_of(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 60
    ]
    assert long == []
