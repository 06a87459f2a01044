"""Which contexts a command line means, and whether each may be used that way.

A context can be managed when it has a ``program_module``, or lists instruments, tasks or recordings, or has pages;
``--all`` and ``--locals`` take those that are also enabled.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Sequence

from msgspec import Struct

from qmi.config.schema import CfgContext, CfgQmi
from qmi.errors import QMI_UsageException
from qmi.names import HostPort, nearest


class Target(Struct):
    """A configured context that a command is about.

    Attributes:
        name: Name of the context.
        context: Its configuration.
        local: Whether it belongs on this machine.
    """

    name: str
    context: CfgContext
    local: bool

    @property
    def host(self) -> str:
        """The host as configured; a context without one belongs to this machine."""
        return self.context.host or "localhost"

    @property
    def address(self) -> HostPort | None:
        """Where the context listens, or None when it has no TCP port."""
        port = self.context.tcp_server_port
        return HostPort(self.host, port) if port else None


class Request(Struct):
    """What the command line says about which contexts are meant.

    Attributes:
        names: The names that were typed.
        everything: ``--all``.
        local_only: ``--locals``.
        starting: Whether the command starts programs, for which a disabled context may not be named.
        default_all: Whether naming nothing means everything, as it does for ``status``.
    """

    names: Sequence[str] = ()
    everything: bool = False
    local_only: bool = False
    starting: bool = False
    default_all: bool = False


def is_local(host: str | None, local_hosts: Collection[str]) -> bool:
    """Whether a configured host means this machine.

    Args:
        host: Name or address of the configuration; nothing means this machine.
        local_hosts: Names and addresses of this machine, in lower case.
    """
    if not host:
        return True
    name = host.lower().rstrip(".").removeprefix("[").removesuffix("]")
    if name == "localhost" or name in local_hosts:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or str(address) in local_hosts


def select(config: CfgQmi, request: Request, local_hosts: Collection[str]) -> list[Target]:
    """Return the contexts that the request means, in the order of the configuration file (or of the names).

    Raises:
        QMI_UsageException: If nothing was chosen, or too much, or contexts that cannot be managed; all faults at once.
    """
    if request.names and (request.everything or request.local_only):
        option = "--all" if request.everything else "--locals"
        raise QMI_UsageException(f"Give either names or {option}, not both")
    if request.everything and request.local_only:
        raise QMI_UsageException("Give either --all or --locals, not both")
    if request.names:
        return _named(config, request, local_hosts)
    if not (request.everything or request.local_only or request.default_all):
        raise QMI_UsageException(
            f"Say which contexts are meant: one or more names, --all or --locals. {_choices(config)}"
        )
    targets = [
        Target(name, context, is_local(context.host, local_hosts))
        for name, context in config.contexts.items()
        if context.enabled and context.program
    ]
    return [target for target in targets if target.local or not request.local_only]


def _named(config: CfgQmi, request: Request, local_hosts: Collection[str]) -> list[Target]:
    targets: dict[str, Target] = {}
    faults: list[str] = []
    for name in request.names:
        context = config.contexts.get(name)
        if context is None:
            faults.append(_unknown(name, config))
        elif not context.program:
            faults.append(
                f"Context {name!r} has no program_module and lists no instruments, tasks, recordings or pages, so "
                f"there is no program to manage: set contexts.{name}.program_module to the module that 'python -m' "
                f"should run, or list contexts.{name}.instruments"
            )
        elif request.starting and not context.enabled:
            faults.append(f"Context {name!r} is disabled: set contexts.{name}.enabled to true to start it")
        else:
            targets[name] = Target(name, context, is_local(context.host, local_hosts))
    if faults:
        raise QMI_UsageException("\n".join(faults))
    return list(targets.values())


def _unknown(name: str, config: CfgQmi) -> str:
    where = f" in {config.config_file}" if config.config_file else ""
    near = nearest(name, config.contexts)
    hint = f"Did you mean {near!r}?" if near else _choices(config)
    return f"Context {name!r} is not configured{where}. {hint}"


def _choices(config: CfgQmi) -> str:
    return _listing("Configured programs", (name for name, cfg in config.contexts.items() if cfg.program))


def _listing(title: str, names: Iterable[str]) -> str:
    return f"{title}: {', '.join(names) or 'none'}"
