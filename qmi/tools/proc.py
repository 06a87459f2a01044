"""The command ``qmi_proc``: starts, stops and watches background programs, here and on other machines."""

from __future__ import annotations

import sys

from qmi.proc.cli import Outside, run
from qmi.proc.find import NetworkDiscovery
from qmi.proc.links import SocketLink


def main() -> int:
    """Carry out the command line of this process and return the exit code: 0, 1 or, for a wrong command line, 2."""
    return run(Outside(link=SocketLink, discovery=NetworkDiscovery))


if __name__ == "__main__":
    sys.exit(main())
