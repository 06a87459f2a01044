"""The ``qmi_proc`` command with the simple link of these tests, for running as a program of its own."""

from __future__ import annotations

import sys

from qmi.proc.cli import Environment, run
from tests.support.proc import QUICK, FixedDiscovery, TextLink

if __name__ == "__main__":
    sys.exit(run(Environment(lambda config: TextLink(), lambda config: FixedDiscovery(), times=QUICK)))
