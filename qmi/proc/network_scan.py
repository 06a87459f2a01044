"""How ``qmi_proc ps`` finds the contexts of a workgroup: it asks over UDP, then each that answers over its link."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from operator import attrgetter

from qmi.config.schema import CfgQmi
from qmi.errors import QMI_Exception, QMI_UnknownRpcException
from qmi.net.discovery.packets import MAX_SIZE, Answer, Question, read_answer, write_question
from qmi.proc.control_client import SocketLink
from qmi.proc.control_protocol import FoundContext

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
        from concurrent.futures import ThreadPoolExecutor

        answers = list(self._answers(workgroup))
        with ThreadPoolExecutor(_AT_ONCE, "ps") as pool:
            return list(pool.map(lambda answer: self._look_into(answer, timeout), answers))

    def _answers(self, workgroup: str) -> Iterator[Answer]:
        settings = self._config.discovery
        question = Question(secrets.randbits(63), workgroup)
        packet = write_question(question)
        seen: set[tuple[str, int, int]] = set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            for address in settings.broadcast_addresses:
                # A network that is not there has nobody to find; the others are asked all the same.
                with contextlib.suppress(OSError):
                    sock.sendto(packet, (address, settings.port))
            for data, host in _packets(sock, settings.timeout):
                answer = read_answer(data, source_host=host, question=question)
                # One context may get the question on several ways, and answers each.
                key = (answer.name, answer.port, answer.pid) if answer else None
                if answer is not None and key is not None and key not in seen:
                    seen.add(key)
                    yield answer

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


def _packets(sock: socket.socket, seconds: float) -> Iterator[tuple[bytes, str]]:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            data, (host, _) = sock.recvfrom(MAX_SIZE + 1)
        except TimeoutError:
            return
        except OSError:
            # An earlier question was refused somewhere; that is no answer.
            continue
        yield data, str(host)
