"""``qmi web``: show the laboratory in a browser."""

from __future__ import annotations

from argparse import Namespace
from functools import partial

from qmi.errors import QMI_ConfigurationException
from qmi.tools.cli.errors import EXIT_OK
from qmi.tools.cli.options import CommandParser
from qmi.tools.cli.terminal import Terminal

DESCRIPTION = """
Serve the pages of the laboratory, until Ctrl-C. The address is printed, and the one with which things may be changed.
At other addresses than those of this computer, a certificate and its key are needed.
"""


def add_arguments(parser: CommandParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--bind", default="127.0.0.1:8642", metavar="HOST:PORT",
                        help="where to listen; port 0 takes any free one (default: %(default)s)")  # fmt: skip
    parser.add_argument("--users", default="", metavar="FILE", help="who may change things; see 'qmi web user --help'")
    parser.add_argument("--certificate", default="", metavar="FILE", help="certificate for HTTPS (PEM)")
    parser.add_argument("--key", default="", metavar="FILE", help="private key of the certificate (PEM)")


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code."""
    try:
        import trio

        from qmi.tools.cli.session import config_of
        from qmi.web.options import Options
        from qmi.web.server import serve
    except ImportError as error:
        if (error.name or "").startswith("qmi"):
            raise
        raise QMI_ConfigurationException(f"{error.name} is not installed: pip install 'qmi-trio[web]'") from error
    options = Options(
        bind=arguments.bind, name=arguments.as_name, users=arguments.users, certificate=arguments.certificate,
        key=arguments.key,
    )  # fmt: skip
    say = (lambda text: terminal.write_json({"url": text}, line=True)) if terminal.json else terminal.write
    try:
        trio.run(partial(serve, config_of(arguments), options, say))
    except* KeyboardInterrupt:  # at the start or while it ends
        pass
    return EXIT_OK
