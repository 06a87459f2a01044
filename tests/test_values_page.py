"""What ``docs/values.md`` shows is so: its blocks are run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from qmi.errors import QMI_ValueNotSendableException
from qmi.net.codec import Codec, UndecodableValue
from qmi.net.limits import Limits
from tests.support.bare_decoder import BareDecoder

PAGE = (Path(__file__).parents[1] / "docs" / "values.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CODEC = Codec()


def send(value: Any) -> Any:
    encoded = CODEC.encode(value)
    return CODEC.decode(encoded.payload, [bytearray(segment) for segment in encoded.segments])


def refusal_of(value: Any) -> str:
    with pytest.raises(QMI_ValueNotSendableException) as caught:
        CODEC.encode(value)
    return str(caught.value)


def error_of(value: Any) -> str:
    with pytest.raises(UndecodableValue) as caught:
        send(value)
    return str(caught.value)


def test_blocks_of_the_page_run_and_print_what_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    def without(value: Any) -> Any:
        encoded = CODEC.encode(value)
        bare = BareDecoder()
        answer = bare.decode(encoded.payload, encoded.segments)
        bare.close()
        assert answer.again is not None
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "__main__", None)
            return CODEC.decode(answer.again[0])

    main = type(sys)("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    names = vars(main)
    names.update(send=send, refusal_of=refusal_of, error_of=error_of, send_to_a_program_without_these_classes=without)
    assert len(BLOCKS) == 6
    for block in BLOCKS:
        exec(compile(block, "values.md", "exec"), names)
    printed = capsys.readouterr().out.strip()
    assert printed in " ".join(PAGE.split())


def test_limits_on_the_page_are_those_of_the_library() -> None:
    limits = Limits()
    assert (limits.depth, limits.body, limits.frame, limits.objects) == (64, 4 << 20, 1 << 30, 4_000_000)
    for text in ("| 64 lists", "4 MiB", "1 GiB", "4,000,000"):
        assert text in PAGE
