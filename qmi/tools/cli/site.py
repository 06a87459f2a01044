"""``qmi site``: the servers of a site on this computer."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from qmi.errors import QMI_RuntimeException
from qmi.tools.cli.errors import EXIT_FAILED, EXIT_OK, CommandError
from qmi.tools.cli.options import CommandParser, add_common
from qmi.tools.cli.terminal import Terminal

if TYPE_CHECKING:
    from qmi.config.schema import CfgQmi
    from qmi.proc.site_server import SiteServer
    from qmi.proc.site_status import ServerStatus

DESCRIPTION = """
The servers of the site that the configuration names: many contexts exchange signals by them, and find each other.

start: start those of this computer, and wait until they are up; one that runs reads a changed configuration.
stop: stop those that were started on this computer.
status: show all servers of the site; exit code 1 if one of them does not answer.
who: show which contexts are there, since when, and with which objects.
run: run the one of this computer until Ctrl-C or SIGTERM, with its log on standard error.
systemd: write a systemd user unit that keeps it running.
"""

_ACTIONS = {
    "start": "start the servers of this computer",
    "stop": "stop them",
    "status": "show all servers of the site",
    "who": "show who is there, since when, and with which objects",
    "run": "run the server of this computer here, until it is ended",
    "systemd": "write a systemd unit for it",
}


def add_arguments(parser: CommandParser) -> None:
    """Add what the command takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(_ACTIONS))
    for name, text in _ACTIONS.items():
        action = actions.add_parser(name, help=text)
        if name == "who":
            action.add_argument(
                "pattern", nargs="?", default="*", metavar="PATTERN", help="which names, such as 'cam*'"
            )
        elif name != "status":
            action.add_argument("server", nargs="?", default="", metavar="HOST:PORT",
                                help="one of 'site.servers'; without it, those of this computer")  # fmt: skip
        if name == "systemd":
            action.add_argument("--output", default="", metavar="FOLDER", help="instead of ~/.config/systemd/user")
        add_common(action)


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code."""
    from qmi.tools.cli.session import config_of

    config = config_of(arguments)
    if arguments.action == "status":
        return _status(config, arguments, terminal)
    if arguments.action == "who":
        return _who(config, arguments, terminal)
    from qmi.proc.site_server import SiteServer, servers_here

    servers = [SiteServer(config, address) for address in servers_here(config, arguments.server)]
    if arguments.action == "start":
        return _start(servers, terminal)
    if arguments.action == "stop":
        return _stop(servers, terminal)
    if len(servers) > 1:
        raise CommandError(
            f"{len(servers)} servers are those of this computer ({', '.join(str(one.address) for one in servers)}): "
            f"say which, 'qmi site {arguments.action} {servers[0].address}'"
        )
    if arguments.action == "systemd":
        return _systemd(servers[0], config, arguments, terminal)
    _warn(servers, terminal)
    return servers[0].run(terminal.note)


def _warn(servers: list[SiteServer], terminal: Terminal) -> None:
    for warning in dict.fromkeys(text for server in servers for text in server.warnings()):
        terminal.note(warning)


def _start(servers: list[SiteServer], terminal: Terminal) -> int:
    _warn(servers, terminal)
    rows: list[dict[str, object]] = []
    for server in servers:
        started = server.start()
        address = str(server.address)
        what = "runs now" if started.new else "has read its configuration" if started.reloaded else "runs already"
        rows.append(
            {"server": str(server.address), "pid": started.pid, "new": started.new, "reloaded": started.reloaded}
        )
        if not terminal.json:
            terminal.write(f"{address} {what}, as process {started.pid}; its log is {server.log}")
    ready = servers[-1].make_streams()
    if not ready:
        terminal.note(
            "the site is not ready: the first time, all of its servers have to run. The one started last makes it ready"
        )
    if terminal.json:
        terminal.write_json({"servers": rows, "ready": ready})
    return EXIT_OK


def _stop(servers: list[SiteServer], terminal: Terminal) -> int:
    failed = False
    rows: list[dict[str, object]] = []
    for server in servers:
        try:
            how = server.stop()
        except QMI_RuntimeException as error:
            terminal.error(f"{server.address}: {error}")
            failed = True
            continue
        rows.append({"server": str(server.address), "stopped": how is not None, "how": how})
        if not terminal.json:
            text = "was not started here, or has ended" if how is None else "has stopped" + (f": {how}" if how else "")
            terminal.write(f"{server.address} {text}")
    if terminal.json:
        terminal.write_json(rows)
    return EXIT_FAILED if failed else EXIT_OK


def _systemd(server: SiteServer, config: CfgQmi, arguments: Namespace, terminal: Terminal) -> int:
    from qmi.proc.systemd import site_unit_name, site_unit_text, write_units

    if config.config_file is None:
        raise CommandError("a unit needs a configuration file: --config FILE, $QMI_CONFIG, or qmi.conf at home")
    file = str(Path(config.config_file).absolute())
    command = (sys.executable, "-m", "qmi", "site", "run", str(server.address), "--config", file)
    name = site_unit_name(server.address.port)
    kept = {key: os.environ[key] for key in ("QMI_HOME",) if os.environ.get(key)}
    folder = Path(arguments.output or "~/.config/systemd/user").expanduser()
    (path,) = write_units({name: site_unit_text(str(server.address), command, kept, folder.parent)}, folder)
    if terminal.json:
        terminal.write_json({"unit": str(path)})
    else:
        terminal.write(f"wrote {path}. What comes next:")
        terminal.write("  qmi site stop")
        terminal.write("  systemctl --user daemon-reload")
        terminal.write(f"  systemctl --user enable --now {name}")
        terminal.write("  loginctl enable-linger       # so that it runs while nobody is logged in")
    return EXIT_OK


def _status(config: CfgQmi, arguments: Namespace, terminal: Terminal) -> int:
    from qmi.proc.site_server import known_servers
    from qmi.proc.site_status import look
    from qmi.tools.cli.session import DEFAULT_TIMEOUT
    from qmi.tools.cli.threads import each

    timeout = arguments.timeout or DEFAULT_TIMEOUT
    found = each(lambda address: look(config, address, timeout=timeout), known_servers(config))
    if terminal.json:
        terminal.write_json([status.as_json() for status in found])
    else:
        terminal.table(("server", "state", "version", "contexts", "values kept", "on disk"), list(map(_row, found)))
        for status in found:
            if status.why:
                terminal.note(status.why)
    return EXIT_FAILED if any(status.why for status in found) else EXIT_OK


def _who(config: CfgQmi, arguments: Namespace, terminal: Terminal) -> int:
    import time
    from datetime import UTC, datetime

    from qmi.actors.status_words import duration
    from qmi.proc.site_server import known_servers
    from qmi.proc.site_status import who_is_there
    from qmi.site.here import machine
    from qmi.site.presence import reachable
    from qmi.tools.cli.session import DEFAULT_TIMEOUT

    known_servers(config)
    present = who_is_there(config, arguments.pattern, timeout=arguments.timeout or DEFAULT_TIMEOUT)
    rows: list[dict[str, object]] = []
    for found in present:
        where = None if found.said is None else reachable(found.said, machine())
        rows.append(
            {
                "context": found.context,
                "since": datetime.fromtimestamp(found.since, UTC).isoformat(timespec="seconds"),
                "address": None if where is None else str(where),
                "pid": None if found.said is None else found.said.pid,
                "version": None if found.said is None else found.said.version,
                "objects": [{"name": name, "class": class_name} for name, class_name in found.objects],
            }
        )
    if terminal.json:
        terminal.write_json(rows)
        return EXIT_OK
    now = time.time()
    terminal.table(
        ("context", "up", "address", "qmi", "objects"),
        [
            (found.context, duration(max(now - found.since, 0.0)), row["address"], row["version"],
             ", ".join(name for name, _ in found.objects))
            for found, row in zip(present, rows, strict=True)
        ],
    )  # fmt: skip
    return EXIT_OK


def _row(status: ServerStatus) -> tuple[str, ...]:
    there = status.version != ""
    kept = there and not status.why
    return (
        str(status.address), status.state, status.version, str(status.contexts) if there else "",
        str(status.values) if kept else "", f"{status.size / 1e6:.1f} MB" if kept else "",
    )  # fmt: skip
