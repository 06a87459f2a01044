"""The recordings that the configuration lists for a context: what is wrong with them, and how they begin."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from qmi.actors.interface import Interface
from qmi.actors.rpc_object import interface_of
from qmi.actors.tasks.runner import task_interface
from qmi.config.schema import SERVE_MODULE, CfgContext, CfgQmi
from qmi.config.structure import path_text, report
from qmi.config.validators import HOSTED
from qmi.contexts.configured_classes import Loaded, faults_of, plans_of
from qmi.data.record_signals import Recording
from qmi.data.record_sources import Place, Wanted, offer_of, parse_place, sources_of
from qmi.data.recording import run
from qmi.data.run_file import check_libraries
from qmi.data.run_folder import check_run_name
from qmi.errors import QMI_Exception, QMI_UnknownNameException
from qmi.names import nearest

if TYPE_CHECKING:
    from qmi.contexts.blocking_context import QMI_Context

_logger = logging.getLogger("qmi.data")


class Plans:
    """The recordings of a context.

    Args:
        name: The context.
        config: The configuration.

    Attributes:
        recordings: What each recording records, without what is wrong.
        faults: What is wrong, each with its place in the file.
    """

    def __init__(self, name: str, config: CfgQmi) -> None:
        self._name = name
        self._config = config
        self.recordings: dict[str, list[Wanted]] = {}
        self.faults: list[str] = []
        own = config.contexts[name]
        if not own.record:
            return
        interfaces = _interfaces(name, own)
        for recording, texts in own.record.items():
            place = path_text(("contexts", name, "record", recording))
            found = [
                one for number, text in enumerate(texts) for one in self._source(f"{place}[{number}]", text, interfaces)
            ]
            with self._fault(place):
                check_libraries()
                check_run_name(recording)
                if found:
                    sources_of(found)
                    self.recordings[recording] = found

    @contextmanager
    def _fault(self, place: str) -> Iterator[None]:
        try:
            yield
        except QMI_Exception as error:
            self.faults.append(f"{place}: {error}")

    def _source(self, place: str, text: str, interfaces: Mapping[str, Interface | None]) -> Iterator[Wanted]:
        with self._fault(place):
            where = parse_place(text, self._name)
            interface = None
            if where.address.context == self._name:
                interface = _known(where, interfaces, f"contexts.{self._name}")
            else:
                self._check_elsewhere(where)
            if interface is not None:
                offer_of(where, interface, "column")
            yield Wanted(where, None, interface)

    def _check_elsewhere(self, where: Place) -> None:
        """Whether another context of the file has such an object, if it has only those that it lists."""
        other = self._config.contexts.get(where.address.context)
        if other is not None and other.program == SERVE_MODULE:
            _known(where, dict.fromkeys([*other.instruments, *other.tasks]), f"contexts.{where.address.context}")


def _known(where: Place, interfaces: Mapping[str, Interface | None], context: str) -> Interface | None:
    name = where.address.object
    if name not in interfaces and not name.startswith("$"):
        near = nearest(name, interfaces)
        hint = f"Did you mean {near!r}?" if near else f"It lists {', '.join(interfaces) or 'nothing'}"
        raise QMI_UnknownNameException(f"{context} lists no {name!r}. {hint}")
    return interfaces.get(name)


def _interfaces(name: str, own: CfgContext) -> dict[str, Interface | None]:
    """What the listed objects offer, by their classes; None for one whose class shows only when it is made."""
    found: dict[str, Interface | None] = {}
    for plan, loaded in faults_of(plans_of(name, own)):
        interface = None
        if isinstance(loaded, Loaded) and not plan.path.startswith(HOSTED):
            with suppress(QMI_Exception):  # told where the object is made
                cls: type = loaded.cls
                interface = task_interface(loaded.runner, cls) if plan.is_task else interface_of(cls)
        found[plan.name] = interface
    return found


@contextmanager
def recording(context: QMI_Context, config: CfgQmi) -> Iterator[list[Recording]]:
    """Record what the configuration lists for a context, for the length of a ``with`` block.

    A fault is logged, and so is a recording that cannot begin or end; the rest goes on.

    Args:
        context: The context, whose objects have been made.
        config: The configuration.
    """
    plans = Plans(context.name, config)
    if plans.faults:
        _logger.error("%s", report(f"The recordings of context {context.name}", plans.faults))
    with ExitStack() as stack:
        yield [
            begun
            for name, wanted in plans.recordings.items()
            if (begun := stack.enter_context(_recorded(name, wanted))) is not None
        ]


@contextmanager
def _recorded(name: str, wanted: list[Wanted]) -> Iterator[Recording | None]:
    begun = Recording(name, wanted, partial(run, name), reconnect=True)
    try:
        begun.__enter__()
    except QMI_Exception as error:
        _logger.error("Recording %s has not begun: %s", name, error)
        yield None
        return
    try:
        yield begun
    finally:
        try:
            begun.__exit__(None, None, None)
        except QMI_Exception as error:
            _logger.error("Recording %s has failed: %s", begun.run_id, error)
