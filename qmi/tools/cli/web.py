"""``qmi web``: show the laboratory in a browser."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qmi.errors import QMI_ConfigurationException, QMI_UsageException
from qmi.tools.cli.errors import EXIT_OK, CommandError
from qmi.tools.cli.options import CommandParser
from qmi.tools.cli.terminal import Terminal

if TYPE_CHECKING:
    from qmi.web.users import Users

DESCRIPTION = """
Serve the pages of the laboratory, until Ctrl-C. The address is printed, and the one with which things may be changed.
At other addresses than those of this computer, a certificate and its key are needed.

  qmi web user add NAME --users FILE       add a user, or change the password of one
  qmi web user remove NAME --users FILE
  qmi web user list --users FILE
"""


def add_arguments(parser: CommandParser) -> None:
    """Add what the command takes."""
    parser.add_argument("action", nargs="*", metavar="user ...",
                        help="user add NAME, user remove NAME, user list: for the file of --users")  # fmt: skip
    parser.add_argument("--bind", default="127.0.0.1:8642", metavar="HOST:PORT",
                        help="where to listen; port 0 takes any free one (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--users", default="", metavar="FILE", help="who may change things; 'qmi web user add NAME' adds one"
    )
    parser.add_argument("--certificate", default="", metavar="FILE", help="certificate for HTTPS (PEM)")
    parser.add_argument("--key", default="", metavar="FILE", help="private key of the certificate (PEM)")


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code."""
    try:
        import trio

        from qmi.tools.cli.session import config_of
        from qmi.web.options import Options
        from qmi.web.server import serve
        from qmi.web.users import Users
    except ImportError as error:
        if (error.name or "").startswith("qmi"):
            raise
        raise QMI_ConfigurationException(f"{error.name} is not installed: pip install 'qmi-trio[web]'") from error
    if arguments.action:
        if not arguments.users:
            raise QMI_UsageException("name the file of the users: --users FILE")
        return _change_users(Users(Path(arguments.users)), arguments.action, terminal)
    options = Options(
        bind=arguments.bind, name=arguments.as_name, users=arguments.users, certificate=arguments.certificate,
        key=arguments.key,
    )  # fmt: skip

    def say(text: str) -> None:
        if terminal.json:
            terminal.write_json({"url": text}, line=True)
        else:
            terminal.write(text)
            terminal.flush()  # it may be read by a program, or go to a file, long before this one ends

    try:
        trio.run(partial(serve, config_of(arguments), options, say))
    except* KeyboardInterrupt:  # at the start or while it ends
        pass
    return EXIT_OK


def _change_users(users: Users, action: list[str], terminal: Terminal) -> int:
    match action:
        case ["user", "add", name]:
            users.add(name, _password(name))
            terminal.note(f"{name} may log in with this password")
        case ["user", "remove", name]:
            if not users.remove(name):
                raise CommandError(f"there is no user {name!r} in {users.path}")
            terminal.note(f"{name} may log in no more")
        case ["user", "list"]:
            names = users.names()
            terminal.write_json(names) if terminal.json else terminal.write("\n".join(names))
        case _:
            raise QMI_UsageException("it is 'qmi web', or 'qmi web user add NAME', 'user remove NAME' or 'user list'")
    return EXIT_OK


def _password(name: str) -> str:
    """The password of a user: typed twice, or the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass(f"Password of {name}: ")
    if getpass.getpass("Once more: ") != password:
        raise CommandError("these were two passwords")
    return password
