"""How one target runs under atheris: which code is watched for coverage."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["qmi", "json5"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Run the target named by the first argument; the others are libFuzzer's."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
