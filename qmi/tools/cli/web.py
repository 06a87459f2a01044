"""``qmi web``: show the laboratory in a browser."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from qmi.errors import QMI_UsageException
from qmi.tools.cli.errors import EXIT_OK, CommandError
from qmi.tools.cli.options import CommandParser
from qmi.tools.cli.terminal import Terminal
from qmi.web.needed import not_installed

if TYPE_CHECKING:
    from qmi.config.schema import CfgQmi

DESCRIPTION = """
Serve the pages of the laboratory, until Ctrl-C. The address is printed, and the one with which things may be changed.
At other addresses than those of this computer, a certificate and its key are needed.

  qmi web user add NAME [--users FILE]     add a user, or change the password of one; the file may be that of a section
  qmi web user remove NAME [--users FILE]  web of the configuration
  qmi web user list [--users FILE]
  qmi web login [CONTEXT]                  print the address and token of pages that a program serves
"""


def add_arguments(parser: CommandParser) -> None:
    """Add what the command takes."""
    parser.add_argument("action", nargs="*", metavar="user ... | login",
                        help="user add NAME, user remove NAME, user list: for the file of --users; "
                             "login: for the pages of a section web of the configuration")  # fmt: skip
    parser.add_argument("--bind", default="127.0.0.1:8642", metavar="HOST:PORT",
                        help="where to listen; port 0 takes any free one (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--users", default="", metavar="FILE", help="who may change things; 'qmi web user add NAME' adds one"
    )
    parser.add_argument("--certificate", default="", metavar="FILE", help="certificate for HTTPS (PEM)")
    parser.add_argument("--key", default="", metavar="FILE", help="private key of the certificate (PEM)")
    parser.add_argument("--public-reading", choices=("yes", "no"), default=None,
                        help="whether reading needs no login (default: only where no other computer can connect)"
                        )  # fmt: skip
    parser.add_argument("--token-file", default="", metavar="FILE",
                        help="keep the token in this file, so that it is the same each time")  # fmt: skip
    parser.add_argument("--dashboards", default="", metavar="FOLDER",
                        help="where dashboards are kept (default: dashboards in the QMI home directory)")  # fmt: skip


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code."""
    try:
        import trio

        from qmi.runtime.identity import name_program
        from qmi.runtime.priority import give_way
        from qmi.tools.cli.session import config_of
        from qmi.web.lock_requests import PROGRAM
        from qmi.web.options import Options
        from qmi.web.server import serve
    except ImportError as error:
        raise not_installed(error) from error
    if arguments.action[:1] == ["login"]:
        return _print_login(config_of(arguments), arguments, terminal)
    if arguments.action:
        return _change_users(arguments, terminal)
    options = Options(
        bind=arguments.bind, name=arguments.as_name, users=arguments.users, certificate=arguments.certificate,
        key=arguments.key, token_file=arguments.token_file, dashboards=arguments.dashboards,
        public_reading=None if arguments.public_reading is None else arguments.public_reading == "yes",
    )  # fmt: skip
    keys = iter(("url", "login"))  # what is said has an address at the end of each line

    def say(text: str) -> None:
        if terminal.json:
            terminal.write_json({next(keys): text.rpartition(" ")[2]}, line=True)
        else:
            terminal.write(text)
        terminal.flush()  # it may be read by a program, or go to a file, long before this one ends

    give_way()
    name_program(PROGRAM)
    try:
        trio.run(partial(serve, config_of(arguments), options, say))
    except* KeyboardInterrupt:  # at the start or while it ends
        pass
    return EXIT_OK


def _print_login(config: CfgQmi, arguments: Namespace, terminal: Terminal) -> int:
    from qmi.actors.context_status import PagesStatus
    from qmi.tools.cli.overview import look
    from qmi.tools.cli.session import laboratory
    from qmi.web.listening import url_at
    from qmi.web.options import configured_options
    from qmi.web.tokens import kept_token

    served = [name for name, context in config.contexts.items() if context.web is not None]
    names = arguments.action[1:] or served
    if len(names) != 1:
        there = f"'qmi web login CONTEXT' with one of {', '.join(served)}" if served else "no context has a section web"
        raise QMI_UsageException(f"{there}, in {config.config_file or 'the configuration'}")
    options = configured_options(config, names[0])
    with laboratory(arguments) as lab:
        found = look(lab, names)
    status = next((seen.status for seen in found if seen.status is not None), None)
    if status is None:
        raise CommandError(f"{names[0]} does not run: 'qmi_proc start {names[0]}'")
    pages = status.pages or PagesStatus(why="the program was started without")
    if not pages.address:
        raise CommandError(f"the pages of {names[0]} are not served: {pages.why or 'they are just starting'}")
    # Of what it tells, only the port is taken: the token is given to no other server than that of the configuration.
    port = options.address.port or urlsplit(pages.address).port or 0
    url = f"{url_at(options, options.address.host, port)}login"
    if options.token_file:
        if not Path(options.token_file).exists():
            raise CommandError(f"the token is in {pages.token_file} of {status.host}, and not in {options.token_file}")
        url += f"#token={kept_token(Path(options.token_file))}"
    terminal.write_json({"url": url}) if terminal.json else terminal.write(url)
    return EXIT_OK


def _change_users(arguments: Namespace, terminal: Terminal) -> int:
    from qmi.web.users import Users, check_name

    action: list[str] = arguments.action
    if action[:1] != ["user"] or len(action) != {"add": 3, "remove": 3, "list": 2}.get("".join(action[1:2])):
        raise QMI_UsageException(
            "it is 'qmi web', 'qmi web login [CONTEXT]', or 'qmi web user add NAME', 'user remove NAME' or 'user list'"
        )
    users = Users(_users_file(arguments))
    if action[1] == "add":
        check_name(action[2])
        users.add(action[2], _password(action[2]))
        terminal.note(f"{action[2]} may log in with this password, by {users.path}")
    elif action[1] == "remove":
        if not users.remove(action[2]):
            there = ", ".join(users.names()) or "none"
            raise CommandError(f"there is no user {action[2]!r} in {users.path}: it has {there}")
        terminal.note(f"{action[2]} may log in no more")
    else:
        names = users.names()
        terminal.write_json(names) if terminal.json else terminal.write("\n".join(names))
    return EXIT_OK


def _users_file(arguments: Namespace) -> Path:
    """The file of the users: that of --users, or else the one that the configuration has for its pages."""
    from qmi.config.paths import Places
    from qmi.tools.cli.session import config_of

    if arguments.users:
        return Path(arguments.users)
    config = config_of(arguments)
    configured = {
        Places(config, name).beside_config(context.web.users)
        for name, context in config.contexts.items()
        if context.web is not None and context.web.users
    }
    if len(configured) != 1:
        found = f"there are {', '.join(sorted(configured))}" if configured else "the configuration has none"
        raise QMI_UsageException(f"name the file of the users, --users FILE: {found}")
    return Path(configured.pop())


def _password(name: str) -> str:
    """The password of a user: typed twice, or the first line of standard input."""
    from qmi.web.users import check_password

    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass(f"Password of {name}: ")
    check_password(password)
    if getpass.getpass("Once more: ") != password:
        raise CommandError("these were two passwords")
    return password
