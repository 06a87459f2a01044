"""How ``make fuzz`` looks for inputs that break a parser: guided by coverage, for so many seconds each.

    python -m tests.fuzz [--seconds 60] [target ...]

What breaks a target is written to ``tests/corpus/<target>``, where ``make test`` replays it from then on. The inputs
that reached something new are kept in ``.fuzz/<target>``, so that the next run goes on from there.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "corpus"


def main() -> int:
    """Return 0 if nothing was found, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: %(default)s)")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="default: all")
    options = parser.parse_args()
    found = [name for name in options.targets or TARGETS if not fuzz(name, options.seconds)]
    print(f"Found something in: {', '.join(found)}; see tests/corpus" if found else "Nothing found")
    return int(bool(found))


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz one target in a process of its own, since a finding ends it. True if nothing was found."""
    known, kept, found = CORPUS / name, ROOT / ".fuzz" / name, ROOT / ".fuzz" / "found" / name
    for directory in (known, kept, found):
        directory.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[name]():
        (kept / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    print(f"== {name}, {seconds} s", flush=True)
    run = subprocess.run(
        [
            sys.executable, "-m", "tests.fuzz.one", name, str(kept), str(known), f"-max_total_time={seconds}",
            "-timeout=5", "-rss_limit_mb=1024", "-max_len=4096", "-print_final_stats=1", "-verbosity=0",
            f"-artifact_prefix={found}/",
        ],
        cwd=ROOT,
    )  # fmt: skip
    for path in found.iterdir():
        path.rename(known / path.name)
        print(f"kept as {(known / path.name).relative_to(ROOT)}")
    return run.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
