"""Runs the command."""

import io
import sys

from qmi.tools.driver.cli import main

if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
    # Units such as Ω are written to a page or a stub as UTF-8 on every system.
    sys.stdout.reconfigure(encoding="utf-8")
if __name__ == "__main__":
    sys.exit(main())
