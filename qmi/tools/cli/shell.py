"""``qmi shell``: IPython with the contexts of a laboratory, and what is in them, under their names."""

from __future__ import annotations

import importlib
import importlib.util
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qmi.errors import QMI_Exception
from qmi.tools.cli.errors import EXIT_OK, CommandError
from qmi.tools.cli.options import CommandParser
from qmi.tools.cli.terminal import Terminal

if TYPE_CHECKING:
    from qmi.tools.cli.session import Laboratory
    from qmi.tools.cli.shell_names import Chosen, ContextNames

DESCRIPTION = """
Start IPython with proxies of the objects of some contexts, or of all that are found:

  qmi shell lab

Then lab.psu is the object psu of the context lab, and psu is, too, where no other is called that. 'await' works on
proxies, and '%qmi ls', '%qmi monitor lab.psu.voltage' and the other commands of qmi do.
"""

_MODULES = {"np": "numpy"}


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("contexts", nargs="*", metavar="CONTEXT", help="contexts, instead of all that are found")


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code."""
    if importlib.util.find_spec("IPython") is None:
        raise CommandError(
            "qmi shell needs the Python package 'IPython', which is not installed: pip install 'qmi-trio[shell]'"
        )
    from qmi.tools.cli.session import laboratory, sharing

    with laboratory(arguments, reconnect=True) as lab:
        lab.lasts = True
        found = _find(lab, arguments.contexts)
        variables, banner = _session(lab, found)
        from qmi.contexts.default import set_default
        from qmi.runtime.sigint import INTERRUPTS

        set_default(lab.context)
        try:
            with sharing(lab, arguments):
                _start(variables, banner)
                INTERRUPTS.end_of_body()  # the exit code says which signal has ended it
        finally:
            set_default(None)
    return EXIT_OK


def _find(lab: Laboratory, names: list[str]) -> dict[str, ContextNames]:
    """The contexts: connected, or with the reason why they are away."""
    from qmi.presenting.seen import NO_PORT
    from qmi.tools.cli import overview
    from qmi.tools.cli.shell_names import ContextNames

    seen = {entry.name: entry for entry in overview.look(lab, names)}
    found: dict[str, ContextNames] = {}
    for name in names or [name for name, entry in seen.items() if entry.state != NO_PORT]:
        entry = seen.get(name)
        why = "it was not found"
        objects: list[str] = []
        if entry is not None and entry.status is None:
            why = f"{entry.state}{f': {entry.why}' if entry.why else ''}"
        elif entry is not None and entry.status is not None:
            # What has failed is there, too: its proxy says why, and starts it again. What could not be made is told.
            objects = [known.name for known in entry.status.objects]
            why = _connect(lab, name)
        found[name] = ContextNames(lab, name, objects, why)
    return found


def _connect(lab: Laboratory, name: str) -> str:
    """Connect to a context; returns why that failed, or an empty text."""
    try:
        lab.connect(name)
    except QMI_Exception as error:
        return str(error)
    return ""


def _session(lab: Laboratory, found: Mapping[str, ContextNames]) -> tuple[dict[str, object], str]:
    """The variables of the session, and what is said of them."""
    import qmi
    from qmi.tools.cli.shell_names import choose, state_of

    variables: dict[str, object] = {"qmi": qmi, "contexts": dict(found)}
    with suppress(ImportError):  # what of it is installed
        variables["scan"] = importlib.import_module("qmi.scan").scan
    for name, module in _MODULES.items():
        with suppress(ImportError):
            variables[name] = importlib.import_module(module)
    states = {name: state_of(context) for name, context in found.items()}
    known: dict[str, list[str]] = {name: [] if why else objects for name, (objects, why) in states.items()}
    chosen = choose(known, [*variables, "scan", *_MODULES])
    for variable, context in chosen.contexts.items():
        variables[variable] = found[context]
    gone: dict[str, str] = {}
    for variable, (context, name) in chosen.objects.items():
        try:
            variables[variable] = found[context][name]
        except QMI_Exception as error:  # it has ended meanwhile, or cannot be described
            gone[f"{context}.{name}"] = str(error)
    return variables, _banner(lab, found, chosen, gone, variables)


def _banner(
    lab: Laboratory,
    found: Mapping[str, ContextNames],
    chosen: Chosen,
    gone: Mapping[str, str],
    variables: Mapping[str, object],
) -> str:
    """What is printed when the session begins."""
    from qmi._version import __version__
    from qmi.config.validators import printable
    from qmi.tools.cli.shell_names import state_of

    others = [name for name in ("qmi", "scan", *_MODULES) if name in variables]
    lines = [f"qmi {__version__}, as {lab.context.name}. There are {', '.join(others)}, the magic %qmi, and:"]
    for name, context in found.items():
        variable = name if name in chosen.contexts else f"contexts[{name!r}]"
        objects, why = state_of(context)
        lines.append(f"  {variable}: " + (f"away, {why}" if why else ", ".join(objects) or "no objects"))
    if not found:
        lines.append(f"  no context of workgroup {lab.config.workgroup!r}")
    short = [name for name in chosen.objects if name in variables]
    if short:
        lines.append(f"Also without the context: {', '.join(short)}")
    lines += [f"  {name} has no short name: {why}" for name, why in chosen.hidden.items()]
    lines += [f"  {name} is not there: {why}" for name, why in gone.items()]
    return "\n".join(map(printable, lines))


def _start(variables: dict[str, object], text: str) -> None:
    IPython: Any = importlib.import_module("IPython")
    config = importlib.import_module("traitlets.config").Config()
    config.TerminalInteractiveShell.banner1 = f"{text}\n"
    config.TerminalInteractiveShell.confirm_exit = False
    config.InteractiveShellApp.extensions = ["qmi"]
    IPython.start_ipython(argv=[], user_ns=variables, config=config)
