"""The other programs of the demonstration: ``python -m qmi.tools.demo_roles bench|bob|hold|laboratory CONFIG``.

Each ends when its standard input does, so that none is left behind whatever becomes of the demonstration.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from qmi.tools.demo_browser import laboratory
from qmi.tools.demo_loop import hold
from qmi.tools.demo_programs import bench, bob

ROLES: Mapping[str, Callable[[str], None]] = {"bench": bench, "bob": bob, "hold": hold, "laboratory": laboratory}

if __name__ == "__main__":
    ROLES[sys.argv[1]](sys.argv[2])
