"""The command ``qmi_proc``: starts, stops and watches background programs, here and on other machines."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from qmi.config.schema import CfgQmi
from qmi.proc.cli import Environment, run
from qmi.proc.control_client import SocketLink
from qmi.proc.control_protocol import Discovery


def _discovery(config: CfgQmi) -> Discovery:
    from qmi.proc.network_scan import NetworkDiscovery  # only "ps" looks for contexts

    return NetworkDiscovery(config)


def main(arguments: Sequence[str] | None = None, program: str = "qmi_proc") -> int:
    """Carry out a command line, by default that of this process.

    Returns:
        The exit code: 0, 1 or, for a wrong command line, 2.
    """
    code = run(Environment(link=SocketLink, discovery=_discovery), arguments, program)
    if arguments is None:
        # Nothing is left to interrupt: a second Ctrl-C would only print how Python ends.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


if __name__ == "__main__":
    sys.exit(main())
