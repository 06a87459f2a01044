"""A process that has imported nothing but the codec, and decodes what it is sent: the receiver of a link at its barest.

Run as a program it answers on its standard output; :class:`BareDecoder` is the other end.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Answer(NamedTuple):
    """What became of one payload.

    Attributes:
        outcome: "value", "refused" (that value alone), or "broken" (anything else).
        text: ``repr`` of the value, or what was wrong.
        again: The value encoded anew, as payload and segments; None if it could not be.
        types: Names of the types of the value and, if it is a list, of its items.
    """

    outcome: str
    text: str
    again: tuple[bytes, list[bytes]] | None
    types: list[str]


class BareDecoder:
    """Starts the process, and asks it."""

    def __init__(self, prelude: str = "") -> None:
        code = f"{prelude}\nfrom tests.support import bare_decoder\nbare_decoder.serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def decode(self, payload: bytes, segments: Any = ()) -> Answer:
        """Have a payload decoded."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((payload, [bytes(segment) for segment in segments]), self._process.stdin)
        self._process.stdin.flush()
        return Answer(*pickle.load(self._process.stdout))

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=20)


def serve() -> None:
    """Answer until the input ends."""
    from qmi.net.codec import Codec

    codec = Codec()
    while True:
        try:
            payload, segments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer = _decode(codec, payload, [bytearray(segment) for segment in segments])
        pickle.dump(tuple(answer), sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _decode(codec: Any, payload: bytes, segments: list[bytearray]) -> Answer:
    from qmi.errors import QMI_ValueNotSendableException
    from qmi.net.codec import UndecodableValue
    from qmi.net.limits import ProtocolError

    try:
        value = codec.decode(payload, segments)
    except UndecodableValue as error:
        return Answer("refused", str(error), None, [])
    except ProtocolError as error:
        return Answer("broken", str(error), None, [])
    except BaseException as error:
        return Answer("broken", repr(error), None, [])
    types = [_name(value), *(_name(item) for item in (value if type(value) is list else ()))]
    try:
        text = "".join(traceback.format_exception(value)) if isinstance(value, BaseException) else repr(value)
        if isinstance(value, BaseException):
            text += str(value) + repr(value)
        encoded = codec.encode(value)
    except QMI_ValueNotSendableException:
        return Answer("value", text, None, types)
    except BaseException as error:
        return Answer("broken", f"after decoding: {error!r}", None, types)
    return Answer("value", text, (encoded.payload, [bytes(segment) for segment in encoded.segments]), types)


def _name(value: Any) -> str:
    cls = type(value)
    return f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
