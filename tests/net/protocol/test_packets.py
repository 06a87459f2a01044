from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from qmi import messages
from qmi.errors import QMI_ValueNotSendableException
from qmi.net.codec import Codec
from qmi.net.limits import ProtocolError
from qmi.net.protocol import kinds, packets
from qmi.net.protocol.bounds import MESSAGES
from qmi.net.protocol.packets import Frame


def test_every_message_travels_with_all_its_fields() -> None:
    known = MESSAGES
    assert set(known) == {*get_args(messages.Request), messages.Signal}
    for cls, fields in known.items():
        assert [field.name for field in fields] == list(cls.__struct_fields__)


def test_the_numbers_of_requests_and_packets_never_change() -> None:
    assert [cls.__name__ for cls in packets._REQUESTS] == [
        "Call", "Acquire", "Release", "ForceRelease", "QueryLock", "QueryStatistics", "Describe", "Subscribe",
        "Unsubscribe",
    ]  # fmt: skip
    assert [(kind.name, kind.value) for kind in kinds.Kind] == [
        ("HELLO", 0), ("REFUSAL", 1), ("PING", 2), ("PONG", 3), ("GOODBYE", 4), ("REQUEST", 5), ("VALUE", 6),
        ("FAILURE", 7), ("CANCEL", 8), ("SIGNAL", 9), ("STREAM", 10), ("CREDIT", 11), ("ITEM", 12), ("END", 13),
    ]  # fmt: skip


@pytest.mark.parametrize("body", [1, [], [1, 2], [1, 2, 3, 4], [True, 0, None], [1, "0", None], {"a": 1}])
def test_packet_of_another_form_is_a_protocol_error(body: object) -> None:
    codec = Codec()
    with pytest.raises(ProtocolError, match="not made of kind, number and payload"):
        packets.read_packet(codec, Frame(codec.encode(body).payload))


def test_token_secrets_do_not_appear_in_errors() -> None:
    codec = Codec()
    for token, timeout in ((messages.Token("s3cret", True), "soon"), (messages.Token("s3cret" * 1000), 1.0)):
        request = messages.Acquire("nsg", token, timeout)  # type: ignore[arg-type]
        with pytest.raises(QMI_ValueNotSendableException) as refused:
            packets.encode_message(codec, request)
        payload = [1, "nsg", [*token], timeout, None, None]
        with pytest.raises(ProtocolError) as caught:
            packets.read_request(payload, newer=False)
        for error in (refused, caught):
            assert "s3cret" not in str(error.value)
            assert "expected" in str(error.value)


def test_links_do_not_import_numpy_before_there_is_an_array() -> None:
    code = "import sys, qmi.net.protocol.connection, qmi.net.discovery.packets; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
