"""What each ``qmi_proc`` command does from the command line to the exit code."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from qmi.config.command_line import is_command
from qmi.config.loader import load_config, where_looked
from qmi.config.schema import CfgQmi
from qmi.errors import QMI_ConfigurationException, QMI_Exception, QMI_UsageException
from qmi.proc.arguments import Arguments, parse_arguments
from qmi.proc.child import restore_ctrl_c
from qmi.proc.control_protocol import Discovery, FoundContext, PeerLink
from qmi.proc.controller import Controller
from qmi.proc.helper_protocol import Cursor, clean
from qmi.proc.launch import Launcher, Times
from qmi.proc.local_hosts import local_hosts
from qmi.proc.manager import Manager
from qmi.proc.order import start_order
from qmi.proc.output import PrintableText, follow, latest_output_dir, read_output
from qmi.proc.render import JsonReporter, PlainReporter, Reporter, write_line
from qmi.proc.selection import Request, Target, select
from qmi.proc.status import EXIT_FAILED, EXIT_OK, EXIT_USAGE, exit_code

if TYPE_CHECKING:
    from qmi.proc.ssh.client import RemoteHosts, SshLimits

_WATCH_INTERVAL = 2.0
_FOLLOW_INTERVAL = 0.2
_ON_THE_WAY = 10.0
"""What an answer over SSH may take beyond the work that is done there."""
_TERMINAL_VARIABLES = {"FORCE_COLOR", "TTY_COMPATIBLE"}
"""With these, rich may take a pipe for a terminal."""


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return True


class Environment(Struct, frozen=True):
    """What the commands use of the world outside; tests put in something else.

    Attributes:
        link: Makes what asks running contexts, for a configuration.
        discovery: Makes what finds contexts on the network, for a configuration.
        times: How long to wait for what.
        ssh: Limits for SSH; None for the usual ones.
        pause: Waits so many seconds between two looks, and returns whether to go on.
    """

    link: Callable[[CfgQmi], PeerLink]
    discovery: Callable[[CfgQmi], Discovery]
    times: Times = field(default_factory=Times)
    ssh: SshLimits | None = None
    pause: Callable[[float], bool] = _sleep


def run(outside: Environment, arguments: Sequence[str] | None = None, program: str = "qmi_proc") -> int:
    """Carry out a command line.

    Args:
        outside: What is used of the world outside.
        arguments: The command line without the name of the program; None for that of this process.
        program: The name of the program, for help and errors in the command line.

    Returns:
        The exit code: 0; 1 if something failed; 2 if the command line or the configuration is wrong.
    """
    parsed = parse_arguments(arguments, program)
    restore_ctrl_c()
    try:
        return _Cli(outside, parsed, load_config(parsed.config), program).run()
    except (QMI_UsageException, QMI_ConfigurationException) as exc:
        _complain(str(exc), program)
        return EXIT_USAGE
    except QMI_Exception as exc:
        _complain(str(exc), program)
        return EXIT_FAILED
    except BrokenPipeError:
        # The reader had enough (as in "| head"). Nothing is left to flush when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:
        if parsed.watch or parsed.follow or parsed.command == "server":
            # These have no other end.
            return EXIT_OK
        _complain("interrupted; what has begun goes on by itself", program)
        return EXIT_FAILED


class _Cli:
    def __init__(self, outside: Environment, arguments: Arguments, config: CfgQmi, program: str) -> None:
        self._program = program
        self._outside = outside
        self._arguments = arguments
        self._config = config
        self._link = outside.link(config)
        self._launcher = Launcher(config, self._link, times=outside.times)

    def run(self) -> int:
        commands = {"logs": self._logs, "ps": self._ps, "server": self._server, "systemd": self._systemd}
        return commands.get(self._arguments.command, self._manage)()

    def _targets(
        self, *, names: Sequence[str] | None = None, starting: bool, default_all: bool = False
    ) -> list[Target]:
        typed = self._arguments
        if self._config.config_file is None:
            raise QMI_UsageException(
                f"No configuration file was found, so no programs are known. Looked for: {where_looked()}. "
                "Name one with --config"
            )
        request = Request(typed.names if names is None else names, typed.all, typed.locals, starting, default_all)
        return select(self._config, request, local_hosts(context.host for context in self._config.contexts.values()))

    def _manage(self) -> int:
        command = self._arguments.command
        asking = command == "status"
        objects = [name for name in self._arguments.names if "." in name] if command == "restart" else []
        if objects:
            return self._restart_objects(objects)
        targets = self._targets(starting=command in ("start", "restart"), default_all=asking)
        if not targets:
            _complain(
                "No context is meant: --all and --locals take those with 'enabled: true' and a program", self._program
            )
        reporter = self._reporter()
        if not asking:
            for warning in start_order(targets).warnings:
                _complain(warning, self._program)
        with self._remote_hosts(targets) as remote, reporter:
            one = Controller(self._launcher, remote, self._link, reporter.update, times=self._outside.times)
            manager = Manager(one, reporter.update)
            statuses = {
                "start": manager.start,
                "stop": manager.stop,
                "restart": manager.restart,
                "status": manager.status,
            }[command](targets)
            while self._arguments.watch and self._outside.pause(_WATCH_INTERVAL):
                statuses = manager.status(targets)
        return exit_code(statuses)

    def _restart_objects(self, names: list[str]) -> int:
        if len(names) < len(self._arguments.names):
            raise QMI_UsageException(
                f"Restart either whole contexts or single objects, such as {names[0]}; give the others in a second "
                "command"
            )
        asked = [name.partition(".")[::2] for name in names]
        targets = {
            target.name: target
            for target in self._targets(names=list(dict.fromkeys(context for context, _ in asked)), starting=False)
        }
        reporter = self._reporter()
        with reporter:
            one = Controller(self._launcher, None, self._link, reporter.update, times=self._outside.times)
            return exit_code([one.restart_object(targets[context], name) for context, name in asked])

    def _reporter(self) -> Reporter:
        if self._arguments.json:
            return JsonReporter(sys.stdout)
        if sys.stdout.isatty() or _TERMINAL_VARIABLES & os.environ.keys():
            # Drawing needs half as much time to be imported as a command takes: a pipe does without.
            from rich.console import Console

            from qmi.proc.live_table import LiveReporter

            console = Console()
            if console.is_terminal:
                return LiveReporter(console)
        # How long a start takes is worth seeing at once; a list of states is for reading and comparing.
        return PlainReporter(sys.stdout, in_order=self._arguments.command == "status")

    def _logs(self) -> int:
        [target] = self._targets(starting=False)
        going_on = self._arguments.follow
        text = PrintableText() if getattr(sys.stdout, "isatty", bool)() else None
        with self._remote_hosts([target]) as remote:

            def read(place: Cursor | None) -> tuple[Cursor, bytes]:
                if remote is None:
                    return read_output(latest_output_dir(self._config, target.name), target.name, place)
                return remote.read_output(target.host, target.name, place)

            for piece in follow(read, lambda: going_on and self._outside.pause(_FOLLOW_INTERVAL)):
                if text is None:
                    sys.stdout.buffer.write(piece)
                    sys.stdout.buffer.flush()
                else:  # it may have come from elsewhere, and must not be obeyed by a terminal
                    sys.stdout.write(text.feed(piece))
                    sys.stdout.flush()
        return EXIT_OK

    def _remote_hosts(self, targets: Sequence[Target]) -> AbstractContextManager[RemoteHosts | None]:
        if all(target.local for target in targets):
            return nullcontext()
        from qmi.proc.ssh.client import RemoteHosts, SshLimits

        longest = max(self._outside.times.longest_stop(target.context) for target in targets)
        limits = self._outside.ssh or SshLimits(answer=longest + _ON_THE_WAY)
        return RemoteHosts(self._config.process_management.hosts, limits=limits)

    def _ps(self) -> int:
        seconds = self._outside.times.ask
        found = sorted(
            self._outside.discovery(self._config).find(self._config.workgroup, timeout=seconds),
            key=lambda context: (context.name, context.address),
        )
        if self._arguments.json:
            write_line(sys.stdout, json.dumps([_found_as_json(context) for context in found], indent=2))
            return EXIT_OK
        for context in found:
            write_line(sys.stdout, clean(_found_as_line(context)))
            for name, kind in context.objects or ():
                write_line(sys.stdout, clean(f"    {name}: {kind}"))
        if not found:
            _complain(
                f"No context of workgroup {self._config.workgroup!r} answered within {seconds:g} s", self._program
            )
        return EXIT_OK

    def _server(self) -> int:
        from qmi.proc.helper_server import executor, serve

        interactive = sys.stdin.isatty()
        if interactive:
            _complain("Type 'START name' or 'STOP name'; anything else ends this", self._program)

        def find(name: str, starting: bool) -> Target:
            [target] = self._targets(names=[name], starting=starting)
            if interactive and not target.local:
                raise QMI_UsageException(f"{name!r} belongs on {target.host}, not on this machine")
            # Whoever logged in to send this has decided that the program belongs here; our own name for this
            # machine may differ from theirs.
            return Target(target.name, target.context, local=True)

        serve(
            sys.stdin.buffer,
            sys.stdout.buffer,
            executor(self._launcher, find, partial(latest_output_dir, self._config)),
        )
        return EXIT_OK

    def _systemd(self) -> int:
        from qmi.proc.systemd import unit_name, unit_text, write_units

        targets = [target for target in self._targets(starting=True, default_all=True) if self._is_ours(target)]
        units = {
            unit_name(target.name): unit_text(target, targets, self._config, os.environ, Path.cwd())
            for target in targets
        }
        directory = self._arguments.output or os.environ.get("XDG_CONFIG_HOME", "~/.config") + "/systemd/user"
        for path in write_units(units, Path(directory).expanduser()):
            write_line(sys.stdout, clean(str(path)))
        if units:
            _complain(
                "Next: systemctl --user daemon-reload && systemctl --user enable --now " + shlex.join(units),
                self._program,
            )
        return EXIT_OK

    def _is_ours(self, target: Target) -> bool:
        if not target.local:
            _complain(f"{target.name} belongs on {target.host}: no unit for it here", self._program)
        return target.local


def _found_as_line(context: FoundContext) -> str:
    facts = [f"PID={context.pid}"] if context.pid is not None else []
    facts += [f"QMI={context.version}"] if context.version else []
    silent = "" if context.objects is not None else ": could not be asked for its objects"
    return f"{context.name} at {context.address}" + (f" ({', '.join(facts)})" if facts else "") + silent


def _found_as_json(context: FoundContext) -> dict[str, object]:
    return {
        "name": context.name,
        "host": context.address.host,
        "port": context.address.port,
        "pid": context.pid,
        "version": context.version or None,
        "objects": None if context.objects is None else dict(context.objects),
    }


def _complain(text: str, program: str) -> None:
    name = "qmi" if is_command(program) else "qmi_proc"
    sys.stderr.write("\n".join(f"{name}: {clean(line)}" for line in text.splitlines()) + "\n")
    sys.stderr.flush()
