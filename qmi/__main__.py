"""``python -m qmi`` is the command ``qmi``."""

from __future__ import annotations

import sys

from qmi.tools.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
