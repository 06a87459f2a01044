"""The program that serves pages, which says more often that it goes on."""

from __future__ import annotations

import sys

from qmi.web import pages_program

pages_program.BEAT = 0.1
sys.exit(pages_program.main())
