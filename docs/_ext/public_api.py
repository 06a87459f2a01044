"""Which names are public, and on which page of the reference each one is described.

A name that several modules offer is described once, on the page of its *home*: the first module of ``MODULES`` that
offers it. The pages of the other modules refer to it. The build fails if a public name is described nowhere.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import qmi
import qmi.errors

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

# In the order in which a name finds its home. The packages below them are looked through by public_modules().
MODULES = (
    "qmi",
    "qmi.core.instrument",
    "qmi.core.task",
    "qmi.core.pubsub",
    "qmi.core.rpc",
    "qmi.core.context",
    "qmi.core.exceptions",
)
PACKAGES = ("qmi.core", "qmi.utils", "qmi.instruments", "qmi.integrations")
FURTHER = (
    "qmi.data",
    "qmi.hosting",
    "qmi.scan",
    "qmi.testing",
    "qmi.data.dataset",
    "qmi.data.datastore",
    "qmi.data.hdf5recorder",
)
GROUPS = {
    "For every script": ("qmi", "qmi.scan", "qmi.utils."),
    "For drivers, tasks and larger programs": ("qmi.core.",),
    "Data": ("qmi.data", "qmi.data."),
    "Drivers": ("qmi.instruments.",),
    "Other frameworks": ("qmi.hosting", "qmi.integrations."),
    "For tests": ("qmi.testing",),
}
# Names that a module of QMI happens to offer too: their home is where they belong.
HOMES = {
    "QMI_RpcObject": "qmi.core.rpc",
    "QMI_RpcProxy": "qmi.core.rpc",
    "rpc_method": "qmi.core.rpc",
    "QMI_Signal": "qmi.core.pubsub",
    "QMI_RegisteredSignal": "qmi.core.pubsub",
    "SignalDescription": "qmi.core.pubsub",
    "QMI_Thread": "qmi.core.thread",
    "check_value_structures_equal": "qmi.core.util",
    "is_valid_object_name": "qmi.core.util",
    "CfgContext": "qmi.core.config_defs",
    "CfgQmi": "qmi.core.config_defs",
}


# What autodoc is told, by the kind of a name.
OPTIONS = {
    "class": ("   :members:", "   :inherited-members: Exception, Enum", "   :show-inheritance:"),
    "exception": ("   :members:", "   :show-inheritance:"),
}


# A trio program sees what scripts see, too; the rest of the base class is for the library.
ALSO = {"qmi.core.context.Context": ("network_failures", "register_stop_handler", "shutdown_requested")}
NOT_FROM = {"qmi.core.context.Context": "ContextBase"}


@dataclass(frozen=True)
class Name:
    """A public name of a module.

    Attributes:
        module: Where it can be imported from.
        name: What it is called there.
        kind: The directive of autodoc that describes it.
    """

    module: str
    name: str
    kind: str

    @property
    def full(self) -> str:
        """The name as it is imported."""
        return f"{self.module}.{self.name}"


@cache
def public_modules() -> tuple[str, ...]:
    """Every module that users may import, those of ``MODULES`` first."""
    found = list(MODULES)
    for package in PACKAGES:
        # Not its __path__, which has the folders of drivers from elsewhere, too.
        paths = [str(Path(qmi.__file__).parents[1].joinpath(*package.split(".")))]
        found += sorted(
            module.name
            for module in pkgutil.walk_packages(paths, f"{package}.")
            if not module.ispkg or hasattr(importlib.import_module(module.name), "__all__")
        )
    return tuple(dict.fromkeys([*found, *FURTHER]))


@cache
def names_of(module: str) -> tuple[Name, ...]:
    """The public names of a module: its ``__all__``, or what it defines itself."""
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", None)
    if names is None:
        mine = [name for name, value in vars(loaded).items() if getattr(value, "__module__", None) == module]
        names = [name for name in mine if not name.startswith("_") and not isinstance(vars(loaded)[name], TypeVar)]
    # __version__ is described where the modules are listed.
    return tuple(Name(module, name, _kind(getattr(loaded, name))) for name in names if not name.startswith("__"))


def _kind(value: Any) -> str:
    if inspect.isclass(value):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if callable(value) else "data"


@cache
def home_of(name: Name) -> str:
    """The module on whose page the name is described."""
    if name.kind == "exception" and hasattr(importlib.import_module("qmi.core.exceptions"), name.name):
        return "qmi.core.exceptions"
    value = getattr(importlib.import_module(name.module), name.name)
    first = [HOMES[name.name]] if name.name in HOMES else []
    for module in [*first, *public_modules()]:
        if any(other.name == name.name and _same(other, value) for other in names_of(module)):
            return module
    return name.module


def _same(other: Name, value: Any) -> bool:
    return getattr(importlib.import_module(other.module), other.name) is value


def own_names(module: str) -> list[Name]:
    """What the page of a module describes."""
    return [name for name in names_of(module) if home_of(name) == module]


def other_names(module: str) -> list[tuple[str, str]]:
    """What else a module offers: the name, and under which full name it is described."""
    return [(name.name, f"{home_of(name)}.{name.name}") for name in names_of(module) if home_of(name) != module]


def undescribed(described: set[str]) -> list[str]:
    """The public names that are described nowhere."""
    return sorted({full for module in public_modules() for full in (n.full for n in own_names(module))} - described)


def page_of(module: str) -> str:
    """The page of a module, in reStructuredText: its docstring, a table of its names, and each of them."""
    own = own_names(module)
    lines = [module, "=" * len(module), "", f".. automodule:: {module}", "", f".. currentmodule:: {module}", ""]
    if own:
        lines += [".. autosummary::", "   :nosignatures:", "", *(f"   {entry.name}" for entry in own), ""]
    if others := other_names(module):
        links = ", ".join(f":py:obj:`{name} <{full}>`" for name, full in others)
        lines += [f"Also importable from here, and described elsewhere: {links}.", ""]
    for entry in own:
        lines += [f".. auto{entry.kind}:: {entry.name}", *OPTIONS.get(entry.kind, ())]
        if entry.full in NOT_FROM:
            lines[-2:] = [f"   :inherited-members: {NOT_FROM[entry.full]}"]
        lines += ["", *(f"   .. automethod:: {entry.name}.{method}\n" for method in ALSO.get(entry.full, ())), ""]
    if module == "qmi.core.exceptions":
        lines += ["The tree of exceptions", "----------------------", "", inspect.getdoc(qmi.errors) or "", ""]
    return "\n".join(lines)


def table_of_modules() -> str:
    """All modules with the first line of their docstrings, in groups."""
    lines: list[str] = []
    for title, prefixes in GROUPS.items():
        modules = [module for module in public_modules() if module in prefixes or module.startswith(prefixes[-1])]
        lines += [f".. rubric:: {title}", "", ".. autosummary::", "", *(f"   {module}" for module in modules), ""]
    return "\n".join(lines)


def _write_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "reference" / "api"
    folder.mkdir(exist_ok=True)
    pages = {folder / f"{module}.rst": page_of(module) for module in public_modules()}
    pages[folder / "modules.inc"] = table_of_modules()  # for the page that lists them
    for path in set(folder.iterdir()) - set(pages):
        path.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def _check(app: Sphinx, env: BuildEnvironment) -> None:
    from sphinx.util import logging  # here, so that the tests can use the rest without Sphinx

    described = set(env.domaindata["py"]["objects"])
    for name in undescribed(described):
        logging.getLogger(__name__).warning("%s is public and has no page in the reference", name)


def _resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.Element | None:
    """Let what a signature calls by the module that defines it lead to the page of the module that offers it."""
    if node.get("refdomain") != "py" or not node.get("reftarget", "").startswith("qmi."):
        return None
    last = node["reftarget"].rpartition(".")[2]
    for module in public_modules():
        for name in own_names(module):
            if name.name == last:
                domain = env.get_domain("py")
                return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name.full, node, content)
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", _write_pages)
    app.connect("env-check-consistency", _check)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
