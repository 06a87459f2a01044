"""Drivers with one transport: opened with the driver, made again after a loss, with the settings of the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from qmi.actors.instrument import QMI_Instrument
from qmi.actors.interface import rpc_method
from qmi.actors.pubsub.signal import QMI_Signal
from qmi.devices.async_transport import AsyncTransport
from qmi.devices.descriptor_hints import check_transport
from qmi.devices.factories import async_transport_of, transport_of
from qmi.devices.line import Line
from qmi.devices.reconnect import ConnectionEvent, Reconnect, reconnect_of
from qmi.devices.transport import QMI_Transport


class _WithTransport(QMI_Instrument):
    """What both kinds of drivers have in common.

    Attributes:
        TRANSPORT_DEFAULTS: Values for what a descriptor does not say, by name.
        IDENTITY_QUERY: What tells this device from another, such as ``"*IDN?"``; None if nothing does.
    """

    TRANSPORT_DEFAULTS: ClassVar[Mapping[str, object]] = {}
    IDENTITY_QUERY: ClassVar[str | None] = None

    sig_connection: QMI_Signal = QMI_Signal([str, str])
    """What happened to the connection: ``"lost"``, ``"restored"``, ``"failed"`` or ``"replaced"``, and the details."""

    def _follow(self, transport: object, reconnect: Reconnect | bool | str | None) -> None:
        """Have a transport tell this driver, and ask it, when its connection is made again."""
        if not isinstance(transport, Line):
            return
        transport.configure(name=self._name)
        policy = transport.reconnect if reconnect is None else reconnect_of(reconnect)
        if policy is None:
            return
        identify = policy.identify or self.IDENTITY_QUERY
        has_own = type(self)._identify_device is not _WithTransport._identify_device
        filled = replace(
            policy,
            identify=(lambda _: self._identify_device()) if has_own and policy.identify is None else identify,
            restore=policy.restore or (lambda _: self._restore_settings()),
            on_event=policy.on_event or self._publish_event,
        )
        transport.configure(reconnect=filled)

    def _publish_event(self, event: ConnectionEvent) -> None:
        self.sig_connection.publish(event.what, event.detail)

    def _identify_device(self) -> Any:
        """Ask the device what it is: called on each new connection, where the answer must be the same as at first.

        A driver overrides this if there is no plain question for it; see ``IDENTITY_QUERY``.
        """

    def _restore_settings(self) -> Any:
        """Give the device the settings that it has lost: called on each new connection; a driver overrides this."""


class TransportInstrument(_WithTransport):
    """Base class of drivers with one transport, which is opened and closed with them.

    A driver whose device answers to ``*IDN?`` says ``IDENTITY_QUERY = "*IDN?"``; one that must restore settings
    overrides :meth:`_restore_settings`. Whether a lost connection is made again is for the user to say.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: The descriptor of the transport, or a transport.
        reconnect: Whether and how a lost connection is made again; see :class:`Reconnect`.
    """

    def __init__(
        self,
        context: object,
        name: str,
        transport: str | QMI_Transport,
        *,
        reconnect: Reconnect | bool | str | None = None,
    ) -> None:
        super().__init__(context, name)
        if isinstance(transport, str):
            transport = transport_of(transport, self.TRANSPORT_DEFAULTS)
        check_transport(transport, "open", "close", "write")
        self._transport = transport
        self._follow(self._transport, reconnect)

    @rpc_method
    def open(self) -> None:
        """Open the transport, and the instrument.

        Raises:
            QMI_InvalidOperationException: If it is open already.
        """
        self._check_is_closed()
        self._transport.open()
        super().open()

    @rpc_method
    def close(self) -> None:
        """Close the transport, and the instrument.

        Raises:
            QMI_InvalidOperationException: If it is not open.
        """
        self._check_is_open()
        super().close()
        self._transport.close()


class AsyncTransportInstrument(_WithTransport):
    """The same for drivers in the event loop.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: The descriptor of the transport, or a transport of the event loop.
        reconnect: Whether and how a lost connection is made again; see :class:`Reconnect`.
    """

    def __init__(
        self,
        context: object,
        name: str,
        transport: str | AsyncTransport,
        *,
        reconnect: Reconnect | bool | str | None = None,
    ) -> None:
        super().__init__(context, name)
        if isinstance(transport, str):
            transport = async_transport_of(transport, self.TRANSPORT_DEFAULTS)
        check_transport(transport, "open", "close", "write")
        self._transport = transport
        self._follow(self._transport, reconnect)

    @rpc_method
    async def open(self) -> None:  # type: ignore[override]
        """Open the transport, and the instrument.

        Raises:
            QMI_InvalidOperationException: If it is open already.
        """
        self._check_is_closed()
        await self._transport.open()
        super().open()

    @rpc_method
    async def close(self) -> None:  # type: ignore[override]
        """Close the transport, and the instrument.

        Raises:
            QMI_InvalidOperationException: If it is not open.
        """
        self._check_is_open()
        super().close()
        await self._transport.close()


for _driver in (TransportInstrument, AsyncTransportInstrument):
    _driver.__module__ = "qmi.core.instrument"
