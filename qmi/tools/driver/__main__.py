"""Runs the command."""

import sys

from qmi.tools.driver.cli import main

sys.exit(main())
