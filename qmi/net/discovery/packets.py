"""What contexts ask and answer over UDP, and which question gets an answer.

A question names one workgroup, and only contexts of that workgroup answer. Nothing but finding a context can be done
here. A question is padded to ``QUESTION_SIZE`` bytes and an answer is never larger than its question, so that nobody
can make a context flood somebody else. Whatever is not understood is None, never an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from qmi.names import HostPort
from qmi.net.limits import ProtocolError
from qmi.net.loopback import is_loopback
from qmi.net.protocol import bounds, plain
from qmi.net.protocol.bounds import MAX_FILTER, Field, OutOfBounds
from qmi.records import NamedTuple

QUESTION = b"QMI?\x01"
ANSWER = b"QMI!\x01"
QUESTION_SIZE = 700
MAX_SIZE = 1400
_WILDCARDS = ("", "0.0.0.0", "::")


class Question(NamedTuple):
    """Who is there?

    Attributes:
        nonce: Repeated in each answer, so that an answer can be told from those to older questions.
        workgroup: The workgroup whose contexts shall answer.
        pattern: Which names shall answer, with ``*``, ``?`` and ``[...]`` as in file names.
    """

    nonce: int
    workgroup: str
    pattern: str = "*"


class Answer(NamedTuple):
    """A context that is there.

    Attributes:
        nonce: That of the question.
        name: Name of the context.
        workgroup: Its workgroup.
        host: Where it listens; empty or a wildcard address if that is every address of its machine.
        port: Its TCP port.
        version: Version of this library.
        pid: Process id.
        incarnation: Tells one program from another; empty if an older version answered.
    """

    nonce: int
    name: str
    workgroup: str
    host: str
    port: int
    version: str
    pid: int
    incarnation: str = ""

    @property
    def address(self) -> HostPort:
        """Where to connect to."""
        return HostPort(self.host, self.port)


def write_question(question: Question) -> bytes:
    """Return the packet to send.

    Raises:
        ValueError: If a filter is too long.
    """
    if len(question.pattern) > MAX_FILTER or len(question.workgroup) > MAX_FILTER:
        raise ValueError(f"A name filter or workgroup has at most {MAX_FILTER} characters")
    from cbor2 import dumps  # only who asks or is asked needs it

    return (QUESTION + dumps(question._asdict())).ljust(QUESTION_SIZE, b"\0")


def read_question(data: bytes) -> Question | None:
    """Return the question in a packet, None if there is none."""
    found = _read(QUESTION, data, bounds.QUESTION)
    return None if found is None else Question(**found)


def write_answer(answer: Answer, question_size: int) -> bytes | None:
    """Return the packet to send, None if it would be larger than the question."""
    from cbor2 import dumps

    packet = ANSWER + dumps(answer._asdict())
    return packet if len(packet) <= min(question_size, MAX_SIZE) else None


def read_answer(data: bytes, *, source_host: str, question: Question) -> Answer | None:
    """Return the answer in a packet, None if there is none or it answers another question.

    Args:
        data: What came.
        source_host: Where it came from; a context that listens on every address can be reached there.
        question: What was asked.
    """
    found = _read(ANSWER, data, bounds.ANSWER)
    if found is None:
        return None
    answer = Answer(**found)
    if answer.nonce != question.nonce or not _matches(question, answer.name, answer.workgroup):
        return None
    if not all(text.isprintable() and " " not in text for text in (answer.host, answer.version)):
        return None
    return answer._replace(host=source_host) if answer.host in _WILDCARDS else answer


def reply_to(data: bytes, *, asker_host: str, name: str, workgroup: str, host: str, port: int, version: str,
             pid: int, incarnation: str = "") -> bytes | None:  # fmt: skip
    """Return what a context answers to a packet: None to junk, to other workgroups, and if it cannot be reached.

    Args:
        data: What came.
        asker_host: Where it came from.
        name: Name of the context.
        workgroup: Its workgroup.
        host: The address where it listens.
        port: Its TCP port, 0 if it does not listen.
        version: Version of this library.
        pid: Process id.
        incarnation: Of this context.
    """
    question = read_question(data)
    if question is None or not port or not _matches(question, name, workgroup):
        return None
    if is_loopback(host) and not is_loopback(asker_host):
        return None
    return write_answer(Answer(question.nonce, name, workgroup, host, port, version, pid, incarnation), len(data))


def _matches(question: Question, name: str, workgroup: str) -> bool:
    return question.workgroup == workgroup and fnmatchcase(name, question.pattern)


def _read(magic: bytes, data: bytes, fields: Sequence[Field]) -> dict[str, Any] | None:
    """Return the fields behind the magic bytes; more fields than these are ignored, for newer versions."""
    if len(data) > MAX_SIZE or not data.startswith(magic):
        return None
    try:
        found = plain.decode(data[len(magic) :], padded=True)
        if type(found) is not dict:
            return None
        read = {field.name: field.read(found.get(field.name)) for field in fields}
    except (ProtocolError, OutOfBounds):
        return None
    incarnation = found.get("incarnation")
    if magic == ANSWER and type(incarnation) is str and len(incarnation) <= bounds.MAX_NAME:
        read["incarnation"] = incarnation
    return read
