"""A program that can be asked who it is: python -m talker PORT NAME [deaf] [after=SECONDS] [meet=DIRECTORY]."""

import os
import socket
import sys
import time


def meet(place: str) -> None:
    """Wait until there are as many as the directory's name says."""
    if place:
        open(os.path.join(place, str(os.getpid())), "w").close()
        while len(os.listdir(place)) < int(os.path.basename(place)):
            time.sleep(0.02)


def main() -> None:
    port, name, *modes = int(sys.argv[1]), sys.argv[2], *sys.argv[3:]
    delay = next((float(mode.removeprefix("after=")) for mode in modes if mode.startswith("after=")), 0.0)
    time.sleep(delay)
    meet(next((mode.removeprefix("meet=") for mode in modes if mode.startswith("meet=")), ""))
    with socket.create_server(("127.0.0.1", port)) as server:
        print(f"{name} listens, configured by {os.environ.get('QMI_CONFIG')}", flush=True)
        while True:
            peer, _ = server.accept()
            with peer, peer.makefile("rw") as file:
                words = file.readline().split()
                if words[:1] == ["who"]:
                    file.write(f"{name} {os.getpid()} 9.9\n")
                elif words[:1] == ["stop"]:
                    file.write("yes\n")
                    file.flush()
                    if "deaf" not in modes:
                        print("stopping as asked")
                        return


if __name__ == "__main__":
    main()
