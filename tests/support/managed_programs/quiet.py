"""A program without a port: python -m quiet [what]."""

import os
import signal
import sys
import time


def main() -> None:
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    print("quiet begins", what)
    if what == "die":
        print("something is wrong", file=sys.stderr)
        sys.exit(3)
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what in ("stubborn", "hopeless"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if what == "hopeless":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if what.startswith("facts="):
        with open(what.removeprefix("facts=") + ".part", "w") as file:
            print(os.getpid(), os.getsid(0), *sorted(os.listdir("/proc/self/fd")), sep="\n", file=file)
            print(*[f"{key}={value}" for key, value in os.environ.items() if "\n" not in value], sep="\n", file=file)
        os.rename(what.removeprefix("facts=") + ".part", what.removeprefix("facts="))
    try:
        print("quiet is ready")
        while True:
            time.sleep(1000)
    except KeyboardInterrupt:
        print("quiet ends")


if __name__ == "__main__":
    main()
