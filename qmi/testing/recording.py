r"""Sessions with real devices as files: recorded once, read and reviewed by people, replayed in tests.

A file has one JSON object on each line. The first one says what it is, each other one is something that happened::

    {"qmi": "session", "version": 1, "begun": "2026-03-02T09:30:00+00:00"}
    {"time": 0.0, "instrument": "psu", "event": "open", "transport": "QMI_TcpTransport(192.168.1.5:5025)"}
    {"time": 0.0012, "instrument": "psu", "write": "VOLT?\n"}
    {"time": 0.0048, "instrument": "psu", "read": "+5.0\n"}
    {"time": 0.9, "instrument": "psu", "event": "close"}

``time`` counts seconds from the beginning. Bytes that are no plain text are in ``write_hex`` and ``read_hex``, long
ones in ``write_base64`` and ``read_base64``. What was read in several pieces is one line. Further events: ``timeout``
(a wait was in vain), ``dropped`` (what came and nobody read), ``lost``, ``lost in write`` (what was written last did
not go out) and ``refused``. The second transport of an instrument is called ``psu#2``.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from qmi.devices.async_thread import AsyncThreadTransport
from qmi.devices.async_transport import AsyncTransport
from qmi.devices.traffic import Watched, add_recorder, remove_recorder, traffic_name
from qmi.errors import QMI_UsageException
from qmi.testing.script import CLOSED, LOST, NO_ANSWER, REFUSED, Late, Mark, Unasked
from qmi.testing.scripted import AsyncScriptedTransport, ScriptedTransport

_logger = logging.getLogger(__name__)

FORMAT = {"qmi": "session", "version": 1}
LONGEST_HEX = 64
"""How many bytes are written in hexadecimal; more in base64."""
_PLAIN = frozenset(range(32, 127)) | {9, 10, 13}
_WITH_DATA = ("write", "read", "dropped")


@contextmanager
def record_session(
    path: str | os.PathLike[str], instruments: Iterable[str] | None = None, *, overwrite: bool = False
) -> Iterator[Path]:
    """Record what the instruments of this program and their devices say to each other, into a file.

    It records the transports that are there and those that are made within the block, blocking and async ones, each
    under the name of its instrument, whatever the logging says. Transports of other programs, and what a driver sends
    by other means than a transport of ``qmi.core.transport``, are not recorded. Neither are times of day, but for the
    beginning; addresses of devices and what the devices answer are: look the file through before you publish it.

    Args:
        path: The file.
        instruments: Names of the instruments; None for all.
        overwrite: Whether to replace a file that is there.

    Yields:
        The path.

    Raises:
        FileExistsError: If the file is there, and ``overwrite`` is not given.
    """
    path = Path(path)
    names = None if instruments is None else {traffic_name(name) for name in instruments}
    if path.exists() and not overwrite:
        raise FileExistsError(f"There is a file {path}; give overwrite=True to record the session anew")
    with path.open("w", encoding="utf-8", newline="\n") as file:
        recorder = _SessionWriter(file, names)
        add_recorder(recorder)
        try:
            yield path
        finally:
            remove_recorder(recorder)
            recorder.finish()
    if not recorder.is_used:
        what = "any transport" if names is None else f"the transports of {', '.join(sorted(names))}"
        _logger.warning("Nothing went over %s while %s was recorded", what, path)


class _SessionWriter:
    """Writes what happens to a file; from any thread."""

    def __init__(self, file: TextIO, names: set[str] | None) -> None:
        self._file = file
        self._names = names
        self._mutex = threading.Lock()
        self._begin = time.monotonic()
        self._reading: dict[str, tuple[float, bytearray]] = {}
        self._labels: weakref.WeakKeyDictionary[Watched, tuple[str, str]] = weakref.WeakKeyDictionary()
        self._open: set[str] = set()  # labels of lines that are open
        self._is_over = False
        self.is_used = False
        self._write({**FORMAT, "begun": datetime.now(UTC).isoformat(timespec="seconds")})

    def note(self, line: Watched, event: str, data: bytes) -> None:
        """Something happened."""
        if self._names is not None and line.traffic_name not in self._names:
            return
        with self._mutex:
            if self._is_over:
                return  # it was on its way when the recording ended
            self.is_used = True
            name = self._label(line, event)
            now = round(time.monotonic() - self._begin, 4)
            if event == "read":
                self._reading.setdefault(name, (now, bytearray()))[1].extend(data)
                return
            self._flush(name)
            if event in _WITH_DATA:
                if data:
                    self._write({"time": now, "instrument": name, **_written(event, data)})
            elif event != "message":
                entry: dict[str, object] = {"time": now, "instrument": name, "event": event}
                if event == "open":
                    entry["transport"] = str(line)
                    if line.reads_messages:
                        entry["messages"] = True
                self._write(entry)

    def _label(self, line: Watched, event: str) -> str:
        """The name of the instrument, with a number behind it while another line of that name is open."""
        name, label = self._labels.get(line, ("", ""))
        if name != line.traffic_name:
            self._open.discard(label)
            name = line.traffic_name
            labels = itertools.chain([name], (f"{name}#{number}" for number in itertools.count(2)))
            label = next(label for label in labels if label not in self._open)
            self._labels[line] = name, label
        if event in ("close", "refused"):
            self._open.discard(label)
        else:
            self._open.add(label)
        return label

    def finish(self) -> None:
        """The recording is over."""
        with self._mutex:
            self._is_over = True
            for name in list(self._reading):
                self._flush(name)

    def _flush(self, name: str) -> None:
        if name in self._reading:
            when, data = self._reading.pop(name)
            self._write({"time": when, "instrument": name, **_written("read", bytes(data))})

    def _write(self, entry: Mapping[str, object]) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()  # of a program that dies, the rest is there


def _written(key: str, data: bytes) -> dict[str, str]:
    if _PLAIN.issuperset(data):
        return {key: data.decode("ascii")}
    if len(data) <= LONGEST_HEX:
        return {f"{key}_hex": data.hex(" ")}
    return {f"{key}_base64": base64.b64encode(data).decode("ascii")}


# Reading.


@dataclass
class _Recorded:
    """One step as it was recorded: what was written and what came, where None is a wait in vain."""

    number: int
    mark: Mark | None = None
    written: bytes | None = None
    came: list[bytes | Mark | None] = field(default_factory=list)

    def step(self) -> object:
        if self.mark is not None:
            return self.mark
        answers: list[object] = []
        waited = False
        for part in self.came:
            if isinstance(part, bytes):
                answers.append(Late(part) if waited else part)
            elif part is LOST:
                answers.append(LOST)
            waited = part is None
        if waited:
            answers.append(NO_ANSWER)
        return Unasked(answers) if self.written is None else (self.written, answers)


class _Device:
    """One instrument of a session, which becomes a script."""

    def __init__(self) -> None:
        self.has_messages = False
        self._recorded: list[_Recorded] = []
        self._is_closed = False
        self._is_lost = False

    def script(self) -> tuple[list[object], list[str]]:
        """The steps, and for each of them where it is from."""
        return [one.step() for one in self._recorded], [f"line {one.number}" for one in self._recorded]

    def add(self, entry: Mapping[str, object], number: int) -> None:
        """Add what a line of the file says."""
        what, data = _data_of(entry)
        if what == "close":
            self._is_closed, self._is_lost = True, False
            return
        if self._is_closed:
            self._is_closed = False
            self._recorded.append(_Recorded(number, mark=CLOSED))
        if what == "write":
            self._recorded.append(_Recorded(number, written=data))
        elif what in ("read", "dropped"):
            self._last(number).came.append(data)
        elif what == "timeout":
            self._last(number).came.append(None)
        elif what == "open":
            self.has_messages = bool(entry.get("messages"))
        elif what == "refused":
            self._recorded.append(_Recorded(number, mark=REFUSED))
        elif what.startswith("lost"):
            self._lose(number, in_write=what == "lost in write")
        else:
            raise ValueError(f"there is no event {what!r}")
        if what in ("write", "open"):
            self._is_lost = False

    def _last(self, number: int) -> _Recorded:
        if not self._recorded or self._recorded[-1].mark is not None:
            self._recorded.append(_Recorded(number))  # what came without having been asked for
        return self._recorded[-1]

    def _lose(self, number: int, *, in_write: bool) -> None:
        # A driver may go on to try; it is lost once.
        if in_write and self._recorded and self._recorded[-1].written is not None:
            self._recorded.pop()
            if not self._is_lost_before():
                self._recorded.append(_Recorded(number, mark=LOST))
        elif not self._is_lost:
            self._last(number).came.append(LOST)
        self._is_lost = True

    def _is_lost_before(self) -> bool:
        if not self._recorded:
            return False
        last = self._recorded[-1]
        return last.mark is LOST or last.came[-1:] == [LOST]


def replay(path: str | os.PathLike[str], instrument: str | None = None) -> ScriptedTransport:
    """A transport that plays the device of a recorded session: the driver must write the same again.

    Answers come at once, whenever they came in the session; what timed out, was lost or late is so again::

        def test_supply_as_recorded(qmi_context):
            with qmi_context.make_instrument("psu", Supply, replay("psu.jsonl")) as psu:
                assert psu.get_voltage() == 5.0

    Args:
        path: The file.
        instrument: Which instrument of it; None if there is only one.

    Returns:
        The transport, which raises :class:`ScriptMismatchError` where something else is written; its messages name the
        line of the file.

    Raises:
        QMI_UsageException: If the file is no recorded session, or has no such instrument or several.
    """
    device = _read_device(path, instrument)
    steps, origins = device.script()
    return ScriptedTransport(steps, messages=device.has_messages, name=Path(path).name, origins=origins, terminator="")


def replay_async(path: str | os.PathLike[str], instrument: str | None = None) -> AsyncTransport:
    """The same for drivers in the event loop.

    Args:
        path: The file.
        instrument: Which instrument of it; None if there is only one.
    """
    device = _read_device(path, instrument)
    if device.has_messages:
        return AsyncThreadTransport(replay(path, instrument))
    steps, origins = device.script()
    return AsyncScriptedTransport(steps, name=Path(path).name, origins=origins, terminator="")


def _read_device(path: str | os.PathLike[str], instrument: str | None) -> _Device:
    path = Path(path)
    devices: dict[str, _Device] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                entry = json.loads(line)
                if number == 1:
                    _check_format(entry)
                else:
                    devices.setdefault(str(entry["instrument"]), _Device()).add(entry, number)
            except (ValueError, KeyError, TypeError) as error:
                raise QMI_UsageException(
                    f"{path}, line {number}, is no line of a recorded session: {error}; it says {line.strip()[:80]!r}"
                ) from error
    found = ", ".join(sorted(devices)) or "none"
    if instrument is None and len(devices) != 1:
        raise QMI_UsageException(f"Say which instrument of {path} is to be replayed; it has {found}")
    if instrument is None:
        return next(iter(devices.values()))
    for name in (instrument, traffic_name(instrument)):
        if name in devices:
            return devices[name]
    raise QMI_UsageException(f"{path} has no instrument {instrument!r}; it has {found}")


def _check_format(entry: object) -> None:
    if not isinstance(entry, dict) or entry.get("qmi") != FORMAT["qmi"]:
        raise ValueError("the first line must say that it is one, as record_session() writes it")
    if entry.get("version") != FORMAT["version"]:
        raise ValueError(f"it is of version {entry.get('version')}, and version {FORMAT['version']} can be read")


def _data_of(entry: Mapping[str, object]) -> tuple[str, bytes]:
    """What happened, and the bytes that it is about."""
    for key in _WITH_DATA:
        if key in entry:
            return key, str(entry[key]).encode("ascii")
        if f"{key}_hex" in entry:
            return key, bytes.fromhex(str(entry[f"{key}_hex"]))
        if f"{key}_base64" in entry:
            return key, base64.b64decode(str(entry[f"{key}_base64"]), validate=True)
    return str(entry["event"]), b""
