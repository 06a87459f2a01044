"""What a link costs: a blocking call beside upstream QMI's, an echo of 8 MiB beside that of a plain socket.

    python -m benchmarks.links [--rounds 5] [--seconds 1.0]

The same as ``python -m benchmarks.run --only call_remote,array_rate --output links``.
"""

from __future__ import annotations

import sys

from benchmarks.run import main

if __name__ == "__main__":
    main(["--only", "call_remote,array_rate", "--output", "links", *sys.argv[1:]])
