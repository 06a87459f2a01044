"""How a command reaches contexts: where they are, what they say of themselves, and proxies of what is in them.

A command that looks asks ``$context`` alone (:meth:`Laboratory.call_context`), over a link that lasts for one request
and needs no event loop. Only a command that uses objects gets a context of its own (:attr:`Laboratory.context`), which
listens nowhere.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from qmi.config.loader import load_config
from qmi.config.schema import CfgContext, CfgQmi
from qmi.errors import QMI_ConfigurationException, QMI_ConnectionException, QMI_RuntimeException, QMI_UsageException
from qmi.names import CLI_PREFIX, CONTEXT_OBJECT_NAME, Address, HostPort, Relay, is_valid_name, nearest
from qmi.proc.control_client import SocketLink
from qmi.tools.cli.completion_cache import Cache, file_of, learn
from qmi.tools.cli.errors import DEBUG_VARIABLE, CommandError
from qmi.tools.cli.threads import each

if TYPE_CHECKING:
    from qmi.actors.interface import Interface
    from qmi.core.context import QMI_Context
    from qmi.net.discovery.packets import Answer
    from qmi.presenting.seen import Seen

SITE_TIMEOUT = 2.0
"""How long a server of the site may take to answer, in seconds."""

DEFAULT_TIMEOUT = 5.0
"""How long a context may take to answer, in seconds."""


class Laboratory:
    """The contexts that a command can reach.

    Args:
        config: The configuration.
        timeout: How long a context may take to answer, in seconds.
        as_name: What this program is called; empty for a name that nobody else has.
        reconnect: Whether links that are lost are made again.

    Attributes:
        config: The configuration.
        timeout: How long a context may take to answer, in seconds.
        quiet: The network is asked no longer when no context has answered for so long, in seconds; None: to the end.
        learned: What was learned, for completion.
        out_of_reach: Contexts that were found at the site, last time, and cannot be reached from here.
        relayed: Those of them that are reached through a server.
        site_fault: Why the site could not be asked, last time; empty if it could, or if there is none.
        lasts: Whether its context outlives the command, and the locks that it takes do.
    """

    def __init__(
        self, config: CfgQmi, *, timeout: float = DEFAULT_TIMEOUT, as_name: str = "", reconnect: bool = False
    ) -> None:
        self.config = config
        self.timeout = timeout
        self.quiet: float | None = None
        self.learned: Cache = Cache()
        self.lasts: bool = False
        self._as_name = as_name
        self._reconnect = reconnect
        self._link: SocketLink | None = None
        self._context: QMI_Context | None = None
        self._found: dict[str, HostPort] = {}
        self.out_of_reach: list[str] = []
        self.relayed: dict[str, HostPort] = {}
        self.site_fault: str = ""

    def seen_here(self) -> Seen | None:
        """The context that this program has already, if it is one that commands are carried out for."""
        return None

    # Where contexts are

    def discover(self, pattern: str = "*") -> Sequence[Answer]:
        """Ask the network, and the site if there is one, for contexts of the workgroup; by name, each program once.

        Raises:
            QMI_ConnectionException: If the network cannot be asked.
        """
        from qmi.peers.addresses import each_program_once

        if self.config.site.enabled:
            both = each(lambda ask: ask(pattern), [self._ask_network, self._ask_site])
            answers = [answer for found in both for answer in found]
        else:
            answers = self._ask_network(pattern)
        found = sorted(each_program_once(answers), key=lambda answer: (answer.name, answer.address))
        if pattern == "*":
            self.learned.saw_contexts([*(answer.name for answer in found), *self.config.contexts])
        return found

    def _ask_network(self, pattern: str) -> list[Answer]:
        from qmi.net.discovery.blocking import ask_blocking
        from qmi.peers.addresses import everywhere

        settings = self.config.discovery
        try:
            return ask_blocking(
                self.config.workgroup, pattern, addresses=everywhere(self.config), port=settings.port,
                timeout=min(settings.timeout, self.timeout), quiet=self.quiet,
            )  # fmt: skip
        except OSError as error:
            raise QMI_ConnectionException(f"The network cannot be asked for contexts: {error}") from error
        except ValueError as error:
            raise QMI_UsageException(str(error)) from error

    def _ask_site(self, pattern: str) -> list[Answer]:
        from qmi.proc.site_status import who_is_there
        from qmi.site.here import machine
        from qmi.site.presence import ways_to

        self.site_fault, self.out_of_reach, self.relayed = "", [], {}
        try:
            present = who_is_there(self.config, pattern, timeout=min(self.timeout, SITE_TIMEOUT))
        except (QMI_RuntimeException, QMI_ConfigurationException) as error:
            self.site_fault = str(error)
            return []
        ways = ways_to(present, self.config.workgroup, machine(), relay=self.config.site.relay)
        self.relayed = dict.fromkeys(ways.relayed, Relay(*self.config.site.addresses[0]))
        self.out_of_reach = ways.out_of_reach
        return ways.direct

    def address_of(self, context: str) -> HostPort:
        """Where a context is, by the configuration or else by asking the network.

        Raises:
            CommandError: If there is none of that name, or there are several.
        """
        known = self._found.get(context) or self.configured(context)
        if known is None:
            answers = [answer for answer in self.discover(context) if answer.name == context]
            running: Sequence[Answer] = ()
            if not answers:  # who was too busy to answer in time may do so when all are asked
                running = self._discover_quietly()
                answers = [answer for answer in running if answer.name == context]
            if not answers and context in self.relayed:
                self._found[context] = self.relayed[context]
                return self.relayed[context]
            if len(answers) > 1:
                places = ", ".join(f"{answer.address} (pid {answer.pid})" for answer in answers)
                raise CommandError(f"{len(answers)} contexts are called {context!r}: {places}. Give them other names")
            if not answers:
                raise self._nobody(context, running=running)
            known = answers[0].address
        self._found[context] = known
        return known

    def forget(self, context: str) -> None:
        """Look anew where a context is, the next time that it is wanted: it was started again, perhaps elsewhere."""
        self._found.pop(context, None)

    def configured(self, context: str) -> HostPort | None:
        """Where the configuration says that a context is; None if it does not."""
        from qmi.peers.addresses import configured

        return configured(self.config, context)

    def not_there(self, context: str) -> CommandError:
        """The error for a context that is not there; says which are."""
        return self._nobody(context)

    def _discover_quietly(self) -> Sequence[Answer]:
        try:
            return self.discover()
        except QMI_ConnectionException:
            return ()

    def _nobody(self, context: str, why: str = "", running: Sequence[Answer] | None = None) -> CommandError:
        """The error for a context that is not there; says which are."""
        names = [answer.name for answer in (self._discover_quietly() if running is None else running)]
        where = f"context {context!r} of workgroup {self.config.workgroup!r}"
        text = f"{where} does not run at {self.configured(context)}: {why}" if why else f"{where} was not found"
        text += f"; running are {', '.join(names)}" if names else "; no context answers on the network"
        near = nearest(context, {*names, *self.config.contexts} - {context})
        return CommandError(text + (f". Did you mean {near!r}?" if near else ""))

    # What contexts say of themselves

    def call_context(
        self, context: str, method: str, /, *args: object, timeout: float | None = None, **kwargs: object
    ) -> Any:
        """Call a method of a context itself (of ``$context``), over a link that lasts for this request.

        Args:
            context: Its name.
            method: The method; one that looks changes nothing there.
            *args: The arguments.
            timeout: How long to wait, in seconds; None is the usual time.
            **kwargs: The arguments that have names.

        Raises:
            CommandError: If the context is not there.
            QMI_RuntimeException: If it does not answer.
            QMI_Exception: What the method raises.
        """
        return self.call_object(Address(context, CONTEXT_OBJECT_NAME), method, *args, timeout=timeout, **kwargs)

    def call_object(
        self, address: Address, method: str, /, *args: object, timeout: float | None = None, **kwargs: object
    ) -> Any:
        """Call a method of an object in the same way; nothing is known of the object but what is returned.

        Args:
            address: The object.
            method: The method.
            *args: The arguments.
            timeout: How long to wait, in seconds; None is the usual time.
            **kwargs: The arguments that have names.

        Raises:
            CommandError: If the context is not there.
            QMI_RuntimeException: If it does not answer.
            QMI_Exception: What the method raises.
        """
        seconds = self.timeout if timeout is None else timeout
        where = self.address_of(address.context)
        try:
            with self.link.conversation(address.context, where, timeout=seconds) as talk:
                return talk.call_object(address.object, method, *args, **kwargs)
        except QMI_ConnectionException as error:
            raise self._nobody(address.context, str(error.__cause__ or error)) from error

    @property
    def link(self) -> SocketLink:
        """What asks contexts, from any thread."""
        if self._link is None:
            self._link = SocketLink(self.config)
        return self._link

    # Objects

    @property
    def context(self) -> QMI_Context:
        """A context of this program's own, which listens nowhere; started when it is first asked for."""
        if self._context is None:
            quiet_logging()
            from qmi.core.context import QMI_Context

            name = self._as_name or self.link.certified_name or f"{CLI_PREFIX}{secrets.token_hex(4)}"
            # Without a port. If the name is configured, that section is for the program that serves under it.
            contexts = {**self.config.contexts, name: CfgContext()}
            limits = replace(
                self.config.limits,  # somebody who accepts and says nothing is waited for as long as for an answer
                connect_timeout=min(self.config.limits.connect_timeout, self.timeout),
                hello_timeout=min(self.config.limits.hello_timeout, self.timeout),
            )
            context = QMI_Context(name, replace(self.config, contexts=contexts, limits=limits))
            context.start()
            self._context = context
        return self._context

    def connect(self, context: str) -> QMI_Context:
        """Connect to a context, unless that is done; returns the own context.

        Raises:
            CommandError: If it is not there.
            QMI_ConnectionException: If it refuses.
        """
        own = self.context
        if not own.has_peer_context(context):
            address = self.address_of(context)
            try:
                where = None if isinstance(address, Relay) else str(address)
                own.connect_to_peer(context, where, ignore_duplicate=True, reconnect=self._reconnect)
            except QMI_RuntimeException as error:
                if isinstance(error, ConnectionRefusedError):
                    raise self._nobody(context, "nothing listens there") from error
                raise
        return own

    def proxy(self, address: str) -> Any:
        """A proxy of an object.

        Args:
            address: ``"context.object"``.

        Raises:
            CommandError: If its context is not there.
            QMI_UsageException: If the address is none.
            QMI_UnknownNameException: If the context has no such object.
        """
        where = parse_object(address)
        found = self.connect(where.context).get_rpc_object(str(where))
        self.learn_members(where, type(found).__rpc_interface__)
        return found

    def learn_members(self, where: Address, interface: Interface) -> None:
        """Remember what an object offers, for completion."""
        from qmi.presenting.members import member_texts

        self.learned.saw_members(where.context, where.object, interface.class_name, member_texts(interface))

    def close(self) -> None:
        """End the links."""
        context, self._context = self._context, None
        if context is not None and context.is_running:
            context.stop()


_SHARED: ContextVar[tuple[Laboratory, Namespace] | None] = ContextVar("qmi_shared_laboratory", default=None)


@contextmanager
def sharing(lab: Laboratory, options: Namespace) -> Iterator[None]:
    """Let all commands of this block use one laboratory, unless their options ask for another one.

    Args:
        lab: The laboratory; it is not closed.
        options: The options that it was made of.
    """
    token = _SHARED.set((lab, options))
    try:
        yield
    finally:
        _SHARED.reset(token)


def _shared(arguments: Namespace) -> Laboratory | None:
    shared = _SHARED.get()
    if shared is None:
        return None
    lab, options = shared
    for name in ("config", "workgroup", "as_name"):
        if getattr(arguments, name) not in ("", getattr(options, name)):
            return None
    lab.timeout = arguments.timeout or options.timeout or DEFAULT_TIMEOUT
    return lab


@contextmanager
def default_context(context: QMI_Context) -> Iterator[None]:
    """Make a context the default one of this process in a block, for what asks for that."""
    from qmi.contexts.default import get_default, set_default

    before = get_default()
    set_default(context)
    try:
        yield
    finally:
        set_default(before)


@contextmanager
def laboratory(arguments: Namespace, *, reconnect: bool = False) -> Iterator[Laboratory]:
    """What a command's options say of the contexts that it may reach; ends its links at the end of the block.

    Args:
        arguments: The options.
        reconnect: Whether links that are lost are made again.

    Raises:
        QMI_ConfigurationException: If the configuration is not usable.
        QMI_UsageException: If an option is not.
    """
    shared = _shared(arguments)
    if shared is not None:
        yield shared
        return
    lab = lab_of(arguments, reconnect=reconnect)
    try:
        yield lab
    finally:
        try:
            lab.close()
        finally:
            if lab.learned.learned or lab.learned.contexts:
                learn(file_of(arguments.config, arguments.workgroup), lab.learned)


def lab_of(arguments: Namespace, *, reconnect: bool = False) -> Laboratory:
    """The same without an end.

    Raises:
        QMI_ConfigurationException: If the configuration is not usable.
        QMI_UsageException: If an option is not.
    """
    config = config_of(arguments)
    timeout = arguments.timeout or DEFAULT_TIMEOUT
    return Laboratory(config, timeout=timeout, as_name=arguments.as_name, reconnect=reconnect)


def config_of(arguments: Namespace) -> CfgQmi:
    """The configuration that a command's options name.

    Raises:
        QMI_ConfigurationException: If it is not usable.
        QMI_UsageException: If an option is not.
    """
    config = load_config(arguments.config)
    if arguments.workgroup:
        if not is_valid_name(arguments.workgroup):
            raise QMI_UsageException(
                "--workgroup takes a name of 1 to 63 letters, digits, '-', '_', '(' or ')', "
                f"got {arguments.workgroup!r}"
            )
        config = replace(config, workgroup=arguments.workgroup)
    if arguments.as_name and not is_valid_name(arguments.as_name):
        raise QMI_UsageException(f"--as takes the name of a context, got {arguments.as_name!r}")
    return config


def parse_object(address: str) -> Address:
    """The address of an object that somebody typed.

    Raises:
        QMI_UsageException: If it is none.
    """
    context, _, name = address.partition(".")
    if not is_valid_name(context) or not is_valid_name(name):
        raise QMI_UsageException(f"an object is written CONTEXT.OBJECT, such as lab.psu; got {address!r}")
    return Address(context, name)


def quiet_logging() -> None:
    """Keep the log off the terminal, where a command prints what it has to say, unless everything is asked for."""
    if os.environ.get(DEBUG_VARIABLE):
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    else:
        logging.getLogger("qmi").addHandler(logging.NullHandler())
