"""How long ``qmi_proc`` takes for ten programs, beside upstream's: the one measure that is about programs.

    python -m benchmarks.proc [--rounds 3]

The same as ``python -m benchmarks.run --only programs --output programs``.
"""

from __future__ import annotations

import sys

from benchmarks.run import main

if __name__ == "__main__":
    main(["--only", "programs", "--output", "programs", *sys.argv[1:]])
