"""``qmi devices``: what is plugged in, and how it is reached. Nothing is said to any device."""

from __future__ import annotations

from argparse import Namespace

from qmi.tools.cli.errors import EXIT_OK
from qmi.tools.cli.options import CommandParser
from qmi.tools.cli.terminal import Terminal

DESCRIPTION = """
Show the serial ports and USB test and measurement devices of this computer: what is typed in a transport
descriptor to reach each, and what the system says about it. No byte is sent to a device.

With --network, also ask VISA for devices in the network (it broadcasts, and waits a second or more).
"""


def add_arguments(parser: CommandParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--network", action="store_true", help="ask in the network, too")


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code."""
    from qmi.devices.discovery import list_transports

    found = list_transports(network=arguments.network)
    if terminal.json:
        terminal.write_json([device._asdict() for device in found])
    elif found:
        terminal.table(("descriptor", "device"), found)
        if any(device.descriptor.startswith("serial:") for device in found):
            terminal.note("add the baud rate of a serial port that its manual says, such as ':baudrate=9600'")
    else:
        terminal.note("no serial port and no USB test and measurement device was found")
    return EXIT_OK
