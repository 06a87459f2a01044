"""Stands in for the program that serves pages; the name of the context says how it behaves."""

from __future__ import annotations

import json
import os
import signal
import sys


def tell(**told: object) -> None:
    print(json.dumps(told), flush=True)


def main() -> None:
    context, option, config = sys.argv[1:]
    assert option == "--config"
    if context == "fails":
        tell(why="the address is taken")
        sys.exit(1)
    if context == "exits":
        sys.exit(3)
    if context == "prints":
        print("something else\n[]\n\n{]", flush=True)
    if context == "environment":
        found = {name: os.environ.get(name, "") for name in ("QMI_LOCK_PASSES", "QMI_PROC_START")}
        tell(address=json.dumps(found), token_file=config)
    else:
        tell(address="http://127.0.0.1:1/", pid=os.getpid())
    if context == "freezes":
        os.kill(os.getpid(), signal.SIGSTOP)
    if context == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    while os.read(0, 100):
        pass
    if context == "stays":
        signal.pause()


main()
