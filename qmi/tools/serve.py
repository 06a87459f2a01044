"""The program of a context whose instruments and tasks are listed in the configuration file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path

import qmi
from qmi.actors.context_status import PagesStatus
from qmi.actors.status_words import pages_words
from qmi.config.command_line import ToolParser, tell_error
from qmi.config.loader import load_config
from qmi.config.paths import Places
from qmi.config.schema import CfgQmi
from qmi.config.structure import report
from qmi.contexts.configured_classes import Loaded, faults_of, plans_of
from qmi.contexts.simulating import simulates
from qmi.core.context import ConfiguredObject, QMI_Context
from qmi.errors import QMI_ConfigurationException, QMI_Exception, QMI_UsageException
from qmi.names import nearest


def make_parser(program: str) -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = ToolParser(
        prog=program,
        description="Make the instruments and tasks that the configuration lists for a context, and serve them.",
    )
    parser.add_argument("context", help="name of the context")
    parser.add_argument("--config", default="", metavar="FILE", help="configuration file, instead of the usual one")
    parser.add_argument("--check", action="store_true", help="import the drivers and list all faults; make nothing")
    return parser


def main(argv: Sequence[str] | None = None, program: str = "python -m qmi.tools.serve") -> int:
    """Run the command line; returns the exit code: 0, 1, or 2 if the command line or the configuration is wrong."""
    options = make_parser(program).parse_args(argv)
    try:
        config = load_config(options.config)
        _check_listed(config, options.context)
        _search_modules(config, options.context)
        if options.check:
            return _check(config, options.context)
        with qmi.start(options.context, options.config) as context, _pages(context, config):
            states = context.make_configured()
            import_module("qmi.data")  # by which the context tells of the runs of this computer
            _say(summary(context.name, states))
            with _recordings(context, config):
                context.wait_until_shutdown()
    except (QMI_UsageException, QMI_ConfigurationException) as error:
        tell_error(str(error), program)
        return 2
    except QMI_Exception as error:
        tell_error(str(error), program, f"{type(error).__name__}: ")
        return 1
    except KeyboardInterrupt:  # the usual end of a program in a terminal; all is closed
        return 0
    return 0


def _search_modules(config: CfgQmi, name: str) -> None:
    """Search for modules where ``qmi_proc start`` lets them be searched: the folder we are in, and ``python_path``."""
    settings = config.contexts[name]
    folders = [str(Path.cwd())]
    if settings.python_path:
        places = Places(config, name)
        folders += [str(places.resolve(part)) for part in settings.python_path.split(os.pathsep) if part]
    # Started as ``qmi serve``, nothing of this is on the path; by ``python -m`` and PYTHONPATH, it is all there.
    sys.path[:0] = [
        folder for folder in folders if folder not in sys.path and not (folder == folders[0] and "" in sys.path)
    ]


def summary(context: str, states: Sequence[ConfiguredObject]) -> str:
    """What is said when all were tried once: how many are ready, and what is with the others."""
    ready = sum(state.state == "ready" for state in states)
    lines = [f"{context}: {ready} of {len(states)} ready"]
    return "\n".join(lines + [f"  {state}" for state in states if state.state != "ready"])


def _recordings(context: QMI_Context, config: CfgQmi) -> AbstractContextManager[object]:
    if not config.contexts[context.name].record:
        return nullcontext()
    from qmi.data.record_plans import recording  # only where something is recorded

    return recording(context, config)


def _pages(context: QMI_Context, config: CfgQmi) -> AbstractContextManager[object]:
    """Has the pages served, if there are any. They are there before the first instrument is."""
    if config.contexts[context.name].web is None:
        return nullcontext()
    from qmi.web.pages_process import PagesProcess  # only where there are pages

    def show(pages: PagesStatus) -> None:
        context.async_context.pages = pages
        if pages.address:
            _say(f"{context.name}: pages {pages_words(pages)}")

    process = PagesProcess(context.name, config.config_file or "", show)
    context.register_stop_handler(process.end_soon)  # also if it is ended by a signal
    return process


def _check_listed(config: CfgQmi, name: str) -> None:
    context = config.contexts.get(name)
    where = config.config_file or "the configuration"
    if context is None:
        near = nearest(name, config.contexts)
        hint = f"did you mean {near!r}?" if near else f"it has {', '.join(config.contexts) or 'none'}"
        raise QMI_UsageException(f"There is no context {name!r} in {where}: {hint}")
    if not context.is_served:
        raise QMI_UsageException(
            f"There is nothing to serve: contexts.{name} in {where} lists neither instruments nor tasks nor "
            "recordings, and has no pages (web)"
        )


def _check(config: CfgQmi, name: str) -> int:
    if config.drivers:
        from qmi.drivers.search import add_configured

        add_configured(Places(config, name).driver_folders())
    own = config.contexts[name]
    found = [entry for _, entry in faults_of(plans_of(name, own, simulate=simulates(config, own)))]
    faults = [str(entry) for entry in found if not isinstance(entry, Loaded)]
    sources = 0
    if own.record:
        from qmi.data.record_plans import Plans

        plans = Plans(name, config)
        faults += plans.faults
        sources = sum(map(len, plans.recordings.values()))
    faults += _faults_of_pages(config, name)
    if faults:
        raise report(f"The configuration of context {name}", faults)
    _say(f"{name}: {len(found)} classes found, and their arguments fit")
    if sources:
        _say(f"{name}: {sources} signals and parameters to record")
    if own.web is not None:
        _say(f"{name}: pages can be served at {own.web.bind}")
    return 0


def _faults_of_pages(config: CfgQmi, name: str) -> list[str]:
    if config.contexts[name].web is None:
        return []
    try:
        from qmi.web.server import check_options
    except ImportError as error:
        from qmi.web.needed import not_installed

        return [f"contexts.{name}.web: {not_installed(error)}"]
    from qmi.web.options import configured_options

    try:
        check_options(configured_options(config, name))
    except (QMI_UsageException, QMI_ConfigurationException) as error:
        return [f"contexts.{name}.web: {error}"]
    return []


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
