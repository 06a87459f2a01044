"""A USBTMC device behind a backend of PyUSB that is made here: no USB, no driver, no permission is needed."""

from __future__ import annotations

import errno
import struct
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core

_OUT, _IN = 0x02, 0x81
_SERIAL = 3


class UsbTmcBackend(usb.backend.IBackend):  # type: ignore[misc]
    """One USBTMC device.

    Attributes:
        written: The messages that it was sent.
        output: The messages that it has to say.
        answers: What it answers at once.
        is_there: Whether it is plugged in.
    """

    def __init__(self, vendor: int = 0x1313, product: int = 0x8078, serial: str = "P0001") -> None:
        self.vendor, self.product, self.serial = vendor, product, serial
        self.written: list[bytes] = []
        self.output: list[bytes] = []
        self.answers: dict[bytes, bytes] = {}
        self.is_there = True
        self._request = b""
        self._partial = b""

    def enumerate_devices(self) -> Any:
        return iter([self] if self.is_there else [])

    def get_device_descriptor(self, dev: Any) -> Any:
        return SimpleNamespace(
            bLength=18, bDescriptorType=1, bcdUSB=0x200, bDeviceClass=0, bDeviceSubClass=0, bDeviceProtocol=0,
            bMaxPacketSize0=64, idVendor=self.vendor, idProduct=self.product, bcdDevice=1, iManufacturer=0, iProduct=0,
            iSerialNumber=_SERIAL, bNumConfigurations=1, address=1, bus=1, port_number=1, port_numbers=(1,), speed=3,
        )  # fmt: skip

    def get_configuration_descriptor(self, dev: Any, config: int) -> Any:
        if config:
            raise IndexError
        return SimpleNamespace(
            bLength=9, bDescriptorType=2, wTotalLength=32, bNumInterfaces=1, bConfigurationValue=1, iConfiguration=0,
            bmAttributes=0x80, bMaxPower=50, extra_descriptors=b"",
        )  # fmt: skip

    def get_interface_descriptor(self, dev: Any, intf: int, alt: int, config: int) -> Any:
        if intf or alt:
            raise IndexError
        return SimpleNamespace(
            bLength=9, bDescriptorType=4, bInterfaceNumber=0, bAlternateSetting=0, bNumEndpoints=2,
            bInterfaceClass=0xFE, bInterfaceSubClass=3, bInterfaceProtocol=1, iInterface=0, extra_descriptors=b"",
        )  # fmt: skip

    def get_endpoint_descriptor(self, dev: Any, ep: int, intf: int, alt: int, config: int) -> Any:
        return SimpleNamespace(
            bLength=7, bDescriptorType=5, bEndpointAddress=(_OUT, _IN)[ep], bmAttributes=2, wMaxPacketSize=512,
            bInterval=0, bRefresh=0, bSynchAddress=0, extra_descriptors=b"",
        )  # fmt: skip

    def open_device(self, dev: Any) -> Any:
        self._check_there()
        return self

    def close_device(self, dev_handle: Any) -> None:
        pass

    def set_configuration(self, dev_handle: Any, config_value: int) -> None:
        pass

    def get_configuration(self, dev_handle: Any) -> int:
        return 1

    def claim_interface(self, dev_handle: Any, intf: int) -> None:
        pass

    def release_interface(self, dev_handle: Any, intf: int) -> None:
        pass

    def is_kernel_driver_active(self, dev_handle: Any, intf: int) -> bool:
        return False

    def clear_halt(self, dev_handle: Any, ep: int) -> None:
        pass

    def ctrl_transfer(
        self, dev_handle: Any, bmRequestType: int, bRequest: int, wValue: int, wIndex: int, data: Any, timeout: int
    ) -> int:
        self._check_there()
        if bRequest == 6:  # a string
            text = self.serial.encode("utf-16-le")
            answer = bytes([len(text) + 2, 3]) + text if wValue & 0xFF else bytes([4, 3, 9, 4])
        elif bRequest == 7:  # capabilities
            answer = bytes(24)
        else:  # abort a read, and its status
            answer = bytes([1]) + bytes(7)
        count = min(len(data), len(answer))
        data[:count] = type(data)("B", answer[:count])
        return count

    def bulk_write(self, dev_handle: Any, ep: int, intf: int, data: Any, timeout: int) -> int:
        self._check_there()
        message = bytes(data)
        kind, size, end = message[0], struct.unpack_from("<L", message, 4)[0], message[8] & 1
        if kind == 2:
            self._request = message
        elif kind == 1:
            self._partial += message[12 : 12 + size]
            if end:
                self.written.append(self._partial)
                if self._partial in self.answers:
                    self.output.append(self.answers[self._partial])
                self._partial = b""
        return len(message)

    def bulk_read(self, dev_handle: Any, ep: int, intf: int, buff: Any, timeout: int) -> int:
        self._check_there()
        if not self._request:  # the rest of a read that was aborted
            return 0
        request, self._request = self._request, b""
        if not self.output:
            raise usb.core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
        (size,) = struct.unpack_from("<L", request, 4)
        data, rest = self.output[0][:size], self.output[0][size:]
        self.output[:1] = [rest] if rest else []
        packet = bytes([2, request[1], request[2], 0]) + struct.pack("<LBxxx", len(data), not rest) + data
        buff[: len(packet)] = type(buff)("B", packet)
        return len(packet)

    def _check_there(self) -> None:
        if not self.is_there:
            raise usb.core.USBError("No such device (it may have been disconnected)", -4, errno.ENODEV)
