"""The server: a context, the pages, and what listens for browsers."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import trio
from msgspec.structs import replace

from qmi.config.paths import qmi_home_dir
from qmi.config.schema import CfgContext, CfgQmi
from qmi.contexts.default import open_context
from qmi.runtime.sigint import ctrl_c_for_main_task
from qmi.web.app import make_app
from qmi.web.assets import assets
from qmi.web.certificates import https_warnings
from qmi.web.dashboards import Dashboards
from qmi.web.doctor import Doctor
from qmi.web.door import Door
from qmi.web.large_values import load_numpy
from qmi.web.listening import Server, Tls, listening_socket, tls_of, url_of
from qmi.web.lock_requests import LockRequests
from qmi.web.options import Options, check_own_certificate
from qmi.web.pushes import Hub
from qmi.web.services import Proxies, Services
from qmi.web.site import Site
from qmi.web.tokens import kept_token
from qmi.web.topics import Sources
from qmi.web.users import Users

_logger = logging.getLogger("qmi.web")


class Starting(Protocol):
    """Is told the address, such as a ``trio.TaskStatus[str]``."""

    def started(self, value: str, /) -> None:
        """Take the address."""


def check_options(options: Options) -> ssl.SSLContext | None:
    """See whether a server may run like this, and its files are usable; nothing is made.

    Returns:
        What TLS is spoken with; None without.

    Raises:
        QMI_UsageException: If it may not.
        QMI_ConfigurationException: If a file is not usable.
    """
    options.check()
    if options.users:
        Users(Path(options.users)).names()
    elif options.token_file and os.path.lexists(options.token_file):
        kept_token(Path(options.token_file))
    return tls_of(options)


def _prepare() -> None:
    """Read and load what the first who asks would wait for, and everybody else with him."""
    assets()
    load_numpy()


def _warn_of_certificate(options: Options, url: str) -> None:
    if options.is_encrypted:
        for warning in https_warnings(options.certificate, options.key, urlsplit(url).hostname or ""):
            _logger.warning("%s", warning)


async def serve(
    config: CfgQmi,
    options: Options,
    say: Callable[[str], None],
    *,
    init_logging: bool = True,
    task_status: Starting = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the pages until somebody asks this program to end, or it is cancelled.

    Args:
        config: The configuration, by which contexts are found.
        options: How the server runs.
        say: Prints a line: the address, and the token with which things may be changed.
        init_logging: Whether what the server logs goes to the log file of the configuration.
        task_status: Is told the address.

    Raises:
        QMI_UsageException: If the options will not do, or the address is taken.
        QMI_ConfigurationException: If a package is missing.
    """
    _prepare()
    check_own_certificate(config, options.context_name)
    tls, door = check_options(options), Door(options)
    # Without a port. If the name is configured, that section is for the program that serves under it.
    config = replace(config, contexts={**config.contexts, options.context_name: CfgContext()})
    with listening_socket(options) as listener:
        url = url_of(listener, options)
        async with open_context(options.context_name, config=config, init_logging=init_logging) as context:
            warn = partial(_warn_of_certificate, options, url)
            warn()
            site = Site(context)
            locks = LockRequests(site)
            context.on_lock_request(locks.told)
            hub = Hub(Sources(site, locks).find)
            folder = (
                Path(options.dashboards) if options.dashboards else Path(qmi_home_dir(context.config), "dashboards")
            )
            services = Services(
                site, door, hub, Proxies(site), locks, options, Dashboards(folder),
                Doctor(context.config.config_file or ""),
            )  # fmt: skip
            ending = hub.ending
            async with site.running(), hub.running(), trio.open_nursery() as nursery:
                server = Server(make_app(services), None if tls is None else Tls(options, tls, warn))
                nursery.start_soon(server.serve, listener, ending)
                try:
                    with ctrl_c_for_main_task():
                        say(f"The laboratory is shown at {url}")
                        if door.token:
                            say(f"Things may be changed at   {url}login#token={door.token}")
                        else:
                            say(f"Things may be changed by the users of {options.users}, who log in at {url}login")
                        task_status.started(url)
                        await context.wait_until_shutdown()
                except KeyboardInterrupt:  # the usual end in a terminal, which is in order, too
                    pass
                finally:
                    ending.set()
