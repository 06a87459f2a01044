"""How ``qmi_proc ps`` finds the contexts of a workgroup: it asks over UDP, then each that answers over its link."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from operator import attrgetter

from qmi.config.schema import CfgQmi
from qmi.errors import QMI_Exception, QMI_RuntimeException, QMI_UnknownRpcException
from qmi.net.discovery.packets import Answer
from qmi.proc.control_client import SocketLink
from qmi.proc.control_protocol import FoundContext

_logger = logging.getLogger("qmi.proc")

_SITE_TIME = 2.0
"""How long a server of the site may take to answer, in seconds."""
_AT_ONCE = 16
_OF_OLDER_VERSION = attrgetter("address.object", "interface.class_name")


class NetworkDiscovery:
    """Finds the contexts of a workgroup.

    Args:
        config: Tells which addresses and port are asked.
    """

    def __init__(self, config: CfgQmi) -> None:
        self._config = config
        self._link = SocketLink(config)

    def find(self, workgroup: str, *, timeout: float) -> Sequence[FoundContext]:
        """Return the contexts that answer in time, and what is in them; see `qmi.proc.control_protocol.Discovery`."""
        # Here, since the other commands need neither threads nor trio.
        from concurrent.futures import ThreadPoolExecutor

        import trio

        from qmi.peers.addresses import each_program_once
        from qmi.peers.resolver import discover

        found = each_program_once([*trio.run(discover, self._config, workgroup, "*"), *self._at_site(workgroup)])
        answers = sorted(found, key=lambda answer: (answer.name, answer.address))
        with ThreadPoolExecutor(_AT_ONCE, "ps") as pool:
            return list(pool.map(lambda answer: self._look_into(answer, timeout), answers))

    def _at_site(self, workgroup: str) -> list[Answer]:
        """Who is at the site and can be reached."""
        if not self._config.site.enabled or workgroup != self._config.workgroup:
            return []
        from qmi.proc.site_status import who_is_there
        from qmi.site.here import machine
        from qmi.site.presence import answers_of

        try:
            present = who_is_there(self._config, timeout=_SITE_TIME)
        except QMI_RuntimeException as error:
            _logger.warning("The site was not asked for contexts: %s", error)
            return []
        return answers_of(present, workgroup, machine())

    def _look_into(self, answer: Answer, timeout: float) -> FoundContext:
        objects: tuple[tuple[str, str], ...] | None = None
        with contextlib.suppress(QMI_Exception, AttributeError, TypeError, ValueError):
            try:
                listed = self._link.call(answer.name, answer.address, "list_objects", timeout=timeout)
            except QMI_UnknownRpcException:  # an older version
                listed = self._link.call(answer.name, answer.address, "get_rpc_object_descriptors", timeout=timeout)
            if isinstance(listed, list | tuple):
                objects = tuple(map(_named, listed))
        return FoundContext(answer.name, answer.address, answer.pid, answer.version, objects)


def _named(entry: object) -> tuple[str, str]:
    """Name and class of an object as they are shown; of a task, its own class and what it does."""
    if isinstance(entry, list | tuple) and all(isinstance(text, str) for text in entry):
        address, _, _, shown_class, state = entry
        return address.rpartition(".")[2], f"{shown_class} ({state})" if state else shown_class
    # A descriptor of an older version. It may be a stand-in: all that is read of it is two names.
    name, class_name = _OF_OLDER_VERSION(entry)
    return str(name), str(class_name)
