from __future__ import annotations

from collections.abc import Callable

import pytest
import usb.backend.libusb1

from tests.support.usbtmc_device import UsbTmcBackend


@pytest.fixture
def usb_backend(monkeypatch: pytest.MonkeyPatch) -> Callable[[UsbTmcBackend], None]:
    """Put a backend of PyUSB in the place of libusb."""

    def use(backend: UsbTmcBackend) -> None:
        monkeypatch.setattr(usb.backend.libusb1, "get_backend", lambda find_library=None: backend)

    return use
