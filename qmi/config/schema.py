"""What can be configured: the sections of the configuration file, their settings and defaults.

Every setting is optional. A section is made by keyword, ``CfgContext(host="127.0.0.1", tcp_server_port=40001)``,
and its values may be changed until a context starts with it. What each type accepts stands in
:mod:`qmi.config.validators`; the rules are applied when a file is read and when a context starts, so that all faults
can be reported together.
"""

from msgspec import Struct, field

# No "from __future__ import annotations" here: the types are looked up by the reader of configuration files, and
# would be searched in qmi.core.config_defs, where users see these classes.
from qmi.config.validators import (
    Anything,
    ClassPath,
    Count,
    CountOrZero,
    Depth,
    DriverPath,
    FileName,
    FixedPort,
    Flag,
    Host,
    HostAndPort,
    IPv4,
    LogFileName,
    LogLevel,
    MemberName,
    Module,
    Name,
    Path,
    Port,
    Positive,
    PositiveOrZero,
    ServerUrl,
    SignalName,
    Size,
    Text,
    is_open_to_others,
)
from qmi.errors import QMI_ConfigurationException
from qmi.names import MAX_NAME_LENGTH, HostPort, parse_server_url

__all__ = [
    "CfgContext",
    "CfgDiscovery",
    "CfgHistory",
    "CfgInstrument",
    "CfgLimits",
    "CfgLogging",
    "CfgProcessHost",
    "CfgProcessManagement",
    "CfgQmi",
    "CfgRestart",
    "CfgSafeWhen",
    "CfgSecurity",
    "CfgSite",
    "CfgTask",
    "CfgWeb",
]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class CfgLogging(Struct):
    """Which log messages are kept, and where.

    Attributes:
        loglevel: Lowest level that is logged at all, unless ``loglevels`` says otherwise for a logger.
        console_loglevel: Lowest level that is shown on the console (standard error).
        logfile: Name of the log file, in the log directory unless it is a full path; ``%(context)s``, ``%(date)s`` and
            ``%(datetime)s`` are filled in. None: no log file.
        loglevels: Lowest level for single loggers and those below them: ``{"qmi.core.rpc": "DEBUG"}``.
        rate_limit: Messages per second that each place in the program may log in the long run. None: no limit.
        burst_limit: Messages that each place may log in quick succession before ``rate_limit`` applies.
        max_bytes: Size in bytes at which a new log file is begun.
        backup_count: Number of older log files that are kept.
    """

    loglevel: LogLevel = "INFO"
    console_loglevel: LogLevel = "WARNING"
    logfile: LogFileName | None = "qmi.log"
    loglevels: dict[Text, LogLevel] = field(default_factory=dict)
    rate_limit: Positive | None = None
    burst_limit: Count = 1
    max_bytes: Count = 10 * GIB
    backup_count: CountOrZero = 5


class CfgSafeWhen(Struct):
    """When an instrument is brought into its safe state, besides the end of its context.

    Attributes:
        lock_lost: Whether that happens when the program that holds its lock is gone.
        watchdog: Seconds after which it happens if nobody calls the instrument. None: never.
        interlock: The signal ``"context.object.signal"`` that must be heard and not be false. None: there is none.
    """

    lock_lost: Flag = False
    watchdog: Positive | None = None
    interlock: SignalName | None = None


class CfgInstrument(Struct):
    """An instrument that the program of a context makes.

    Attributes:
        driver: The class of the driver, ``"package.module:Class"``; ``"hosted:package.module:Class"`` is one of another
            library, as for :func:`qmi.hosted`.
        args: Further arguments of its constructor.
        kwargs: Further keyword arguments of its constructor.
        open: Whether it is opened when it is made.
        reconnect: Whether an instrument that could not be made or opened is tried again, after 1 s and ever longer
            up to a minute.
        simulate: Whether it is simulated. None: as the other instruments of the context.
        safe: What is set when it is brought into its safe state, by the names of parameters, besides what
            ``safe_state()`` of the driver does.
        safe_when: When that happens besides the end of the context. None: as the driver says.
    """

    driver: DriverPath | None = None
    args: list[Anything] = field(default_factory=list)
    kwargs: dict[Text, Anything] = field(default_factory=dict)
    open: Flag = True
    reconnect: Flag = False
    simulate: Flag | None = None
    safe: dict[Text, Anything] = field(default_factory=dict)
    safe_when: CfgSafeWhen | None = None

    def __post_init__(self) -> None:
        if self.driver is None:
            raise QMI_ConfigurationException("driver is missing: expected a class as 'package.module:Class'")


class CfgRestart(Struct):
    """When a task that failed is started again; see :class:`qmi.core.task.RestartRule`.

    Attributes:
        limit: Restarts within the window; None never gives up.
        window: Seconds that a restart counts.
        first_delay: Seconds to wait before the first restart.
        growth: Factor from each delay to the next, at least 1.
        longest_delay: Seconds that no delay exceeds.
    """

    limit: CountOrZero | None = 3
    window: Positive = 60.0
    first_delay: PositiveOrZero = 0.5
    growth: Positive = 2.0
    longest_delay: PositiveOrZero = 30.0

    def __post_init__(self) -> None:
        if self.growth < 1:
            raise QMI_ConfigurationException(f"expected a growth of at least 1, found {self.growth:g}")
        if self.longest_delay < self.first_delay:
            raise QMI_ConfigurationException(
                f"expected a longest_delay of at least first_delay, found {self.longest_delay:g} and "
                f"{self.first_delay:g}"
            )


class CfgTask(Struct):
    """A task that the program of a context makes.

    Attributes:
        task: The class of the task, ``"package.module:Class"``.
        args: Further arguments of its constructor.
        kwargs: Further keyword arguments of its constructor.
        start: Whether it is started when it is made.
        runner: The class of its runner. None: the usual one.
        restart: Whether and when it is started again if it fails. None: as its runner says.
    """

    task: ClassPath | None = None
    args: list[Anything] = field(default_factory=list)
    kwargs: dict[Text, Anything] = field(default_factory=dict)
    start: Flag = True
    runner: ClassPath | None = None
    restart: CfgRestart | None = None

    def __post_init__(self) -> None:
        if self.task is None:
            raise QMI_ConfigurationException("task is missing: expected a class as 'package.module:Class'")


DEFAULT_BIND = "127.0.0.1:8642"
"""Where the pages of a laboratory are served."""


class CfgWeb(Struct):
    """The pages of the laboratory, which ``qmi.tools.serve`` has a program of their own serve as long as it runs.

    The names of files are taken from the directory of the configuration file, that of the folder from the QMI home
    directory.

    Attributes:
        bind: Where they are served, ``"host:port"``; port 0 takes any free one.
        name: What the context of that program is called. None: as the context with ``_web`` behind it.
        users: File of the users who may change things, which ``qmi web user add`` writes. None: whoever has the token
            may, which is kept in the QMI home directory.
        certificate: Certificate for HTTPS (PEM). None: that of ``security`` if others can connect, else HTTP.
        key: Private key that belongs to the certificate (PEM).
        public_reading: Whether reading needs no login. None: only where no other computer can connect.
        dashboards: Folder of the dashboards. None: ``dashboards`` in the QMI home directory.
    """

    bind: HostAndPort = DEFAULT_BIND
    name: Name | None = None
    users: FileName | None = None
    certificate: FileName | None = None
    key: FileName | None = None
    public_reading: Flag | None = None
    dashboards: FileName | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            found = "key" if self.certificate is None else "certificate"
            raise QMI_ConfigurationException(f"expected certificate and key together, found only {found}")

    def name_beside(self, context: str) -> str:
        """What the context is called that serves the pages beside another one."""
        return self.name or f"{context}_web"


SERVE_MODULE = "qmi.tools.serve"
"""The program of a context that lists instruments, tasks, recordings or pages, and names no other."""


class CfgContext(Struct):
    """One context: where it listens and how ``qmi_proc`` starts its program.

    Attributes:
        host: Address that the context listens on, and where others find it.
        tcp_server_port: TCP port that the context listens on; 0 takes any free port. None: no server.
        connect_to_peers: Names of contexts to connect to at the start, which fails if one cannot be reached.
        enabled: Whether ``qmi_proc`` includes this context in ``--all`` and ``--locals``.
        program_module: Module that ``qmi_proc`` runs as the program of this context. None: ``qmi.tools.serve`` if it
            lists instruments, tasks or recordings or has pages, else there is no program.
        program_args: Command line arguments of that program.
        python_path: Directories for the program's ``PYTHONPATH``, separated as there.
        virtualenv_path: Virtual environment that the program runs in.
        reconnect: Whether a lost connection to a peer is made again.
        allow_missing_peers: Whether the context starts without those of ``connect_to_peers`` that cannot be reached.
            They are connected in the background when they are there, also after a loss. None: as ``reconnect``.
        stop_grace: Seconds that a driver which does not return is waited for when the context stops.
        allow_remote_shutdown: Whether other contexts, ``qmi_proc`` among them, may ask this one to shut down, or to
            make one of its instruments and tasks anew.
        allow_remote_force_unlock: Whether other contexts may unlock what somebody else has locked here.
        operators: Names of the contexts that may do everything here; all others are guests, who may only look. None:
            everybody may.
        simulate: Whether the instruments that this context makes are simulated. None: as for the whole configuration.
        instruments: Instruments by name, which ``qmi.tools.serve`` makes.
        tasks: Tasks by name, which it makes after the instruments.
        ready_timeout: Seconds that it waits for the instruments before it makes the tasks.
        record: What it records from begin to end: by the name of the run, signals and parameters of this context and
            of others.
        web: The pages of the laboratory, which it has served as long as it runs. None: it has none.
    """

    host: Host | None = None
    tcp_server_port: Port | None = None
    connect_to_peers: list[Name] = field(default_factory=list)
    enabled: Flag = False
    program_module: Module | None = None
    program_args: list[Text] = field(default_factory=list)
    python_path: Path | None = None
    virtualenv_path: FileName | None = None
    reconnect: Flag = False
    allow_missing_peers: Flag | None = None
    stop_grace: PositiveOrZero = 5.0
    allow_remote_shutdown: Flag = True
    allow_remote_force_unlock: Flag = True
    operators: list[Name] | None = None
    simulate: Flag | None = None
    instruments: dict[Name, CfgInstrument] = field(default_factory=dict)
    tasks: dict[Name, CfgTask] = field(default_factory=dict)
    ready_timeout: Positive = 30.0
    record: dict[Name, list[MemberName]] = field(default_factory=dict)
    web: CfgWeb | None = None

    def __post_init__(self) -> None:
        both = [name for name in self.instruments if name in self.tasks]
        if both:
            raise QMI_ConfigurationException(f"expected names of their own, found {both[0]!r} in instruments and tasks")
        if empty := [name for name, members in self.record.items() if not members]:
            raise QMI_ConfigurationException(f"expected signals and parameters to record, found none in {empty[0]!r}")
        if self.web is not None and self.program_module not in (None, SERVE_MODULE):
            raise QMI_ConfigurationException(
                f"expected no program_module beside web, found {self.program_module!r}: pages are served for "
                f"{SERVE_MODULE}, so give them a context of their own, which needs nothing else"
            )

    @property
    def program(self) -> str | None:
        """The module that ``qmi_proc`` runs; None if there is no program."""
        return self.program_module or (SERVE_MODULE if self.is_served else None)

    @property
    def is_served(self) -> bool:
        """Whether it lists something for ``qmi.tools.serve``."""
        return bool(self.instruments or self.tasks or self.record) or self.web is not None


class CfgProcessHost(Struct):
    """How ``qmi_proc`` reaches another computer.

    Attributes:
        server_command: Command that starts ``qmi_proc server`` there.
        ssh_host: Host name or address for SSH, if not the one of the context.
        ssh_user: User name for SSH, if not the own one.
    """

    server_command: Text | None = None
    ssh_host: Host | None = None
    ssh_user: Text | None = None


class CfgProcessManagement(Struct):
    """What ``qmi_proc`` needs to know beyond the contexts.

    Attributes:
        output_dir: Directory for the output of started programs. None: the QMI home directory.
        hosts: Other computers, by the ``host`` of the contexts that run there.
    """

    output_dir: FileName | None = None
    hosts: dict[Host, CfgProcessHost] = field(default_factory=dict)


class CfgSecurity(Struct):
    """Files for TLS. With all three, peers prove themselves to each other; with none, connections are not protected.

    Relative names are taken from the directory of the configuration file. ``${context}`` is the name of the context
    (``qmi_proc`` for that command), so that programs of one configuration file have certificates of their own; for
    names that have none, it is ``any``, the certificate for every name.

    Attributes:
        ca: Certificate of the authority that every peer's certificate must come from (PEM).
        certificate: Certificate of this program (PEM).
        key: Private key that belongs to the certificate (PEM).
        revoked: List of certificates that are refused although the authority made them, by their serial numbers. It
            is read again when it changes.
    """

    ca: FileName | None = None
    certificate: FileName | None = None
    key: FileName | None = None
    revoked: FileName | None = None

    def __post_init__(self) -> None:
        given = {"ca": self.ca, "certificate": self.certificate, "key": self.key}
        missing = [name for name, value in given.items() if value is None]
        if len(missing) == len(given) and self.revoked is not None:
            raise QMI_ConfigurationException("expected ca, certificate and key beside revoked, found only revoked")
        if 0 < len(missing) < len(given):
            found = " and ".join(name for name in given if name not in missing)
            raise QMI_ConfigurationException(f"expected ca, certificate and key together, found only {found}")

    @property
    def enabled(self) -> bool:
        """Whether connections are protected."""
        return self.ca is not None


class CfgLimits(Struct):
    """How much a peer may ask for before it is refused.

    Attributes:
        hello_bytes: Bytes that a peer may send before its hello is done.
        hello_timeout: Seconds within which the hello must be done.
        max_unproven_links: Links whose hello is not done yet.
        max_links: Links in all.
        max_links_per_address: Links from one other machine; all of a /64 network of IPv6 count as one.
        max_local_links: Links from programs on this machine.
        reserved_links: How many of the last links go only to machines that have fewer than eight.
        max_body_bytes: Bytes of CBOR in a frame.
        max_frame_bytes: Bytes of a whole frame, arrays included.
        max_frame_objects: Objects that a frame may become: a list or dict counts 8, a named value 40, an error 120, a
            proxy 800. The unit is about ten bytes of memory.
        max_depth: Levels that values may be nested, sent or received.
        max_arriving_bytes: Bytes of arrays of more than 64 MiB that arrive at the same time, on all links together; and
            of arrays in requests that have no answer yet.
        max_unsent_bytes: Bytes that may wait for a slow peer before its calls and its own requests wait, per link.
        unsent_timeout: Seconds in which a peer must take some of them, per link.
        max_open_requests: Requests that may wait for their answer, per link.
        connect_timeout: Seconds within which a connection to a peer must be made.
        max_request_bytes: Bytes of memory that these may take up, per link; one of any size is always allowed.
        max_all_request_bytes: Bytes of memory that those of all links may take up, besides arrays.
        peer_timeout: Seconds of silence after which a peer counts as lost.
    """

    hello_bytes: Count = 4 * KIB
    hello_timeout: Positive = 5.0
    max_unproven_links: Count = 64
    max_links: Count = 2000
    max_links_per_address: Count = 256
    max_local_links: Count = 1800
    reserved_links: CountOrZero = 100
    max_body_bytes: Size = 4 * MIB
    max_frame_bytes: Size = 1 * GIB
    max_frame_objects: Count = 4_000_000
    max_depth: Depth = 64
    max_arriving_bytes: Size = 2 * GIB
    max_unsent_bytes: Count = 64 * MIB
    unsent_timeout: Positive = 10.0
    max_open_requests: Count = 10_000
    connect_timeout: Positive = 10.0
    max_request_bytes: Size = 96 * MIB
    max_all_request_bytes: Size = 128 * MIB
    peer_timeout: Positive = 15.0


class CfgDiscovery(Struct):
    """How contexts find each other on the network.

    Attributes:
        enabled: Whether this program answers when others look for contexts.
        port: UDP port for questions, the same on all computers.
        broadcast_addresses: IPv4 addresses that a question goes to.
        timeout: Seconds that answers are waited for.
    """

    enabled: Flag = True
    port: FixedPort = 35999
    broadcast_addresses: list[IPv4] = field(default_factory=lambda: ["255.255.255.255", "127.255.255.255"])
    timeout: Positive = 0.5


class CfgHistory(Struct):
    """How much the servers of a site keep of what was published, for those that come later or were away.

    Attributes:
        per_signal: Values of each signal.
        seconds: Age of the oldest of them.
        bytes: Bytes of all signals together; then the oldest go first.
    """

    per_signal: Count = 1000
    seconds: Positive = 3600.0
    bytes: Size = 2 * GIB


HIGHEST_PORT = 63535
CLUSTER_OFFSET = 2000


class CfgSite(Struct):
    """The servers that many contexts exchange signals by, and find each other.

    Attributes:
        servers: Their addresses, ``"nats://host:port"``: one, or three and more that stand in for each other and use
            the port 2000 above it, too. Without any there is no site.
        required: Whether a context fails to start if it reaches none of them.
        buffer_bytes: Bytes of signals that wait in a context while no server is reached or it is slow.
        history: How much the servers keep.
        names: Contexts that may connect besides those of ``contexts``, where certificates tell who is who.
        relay: Whether contexts make links through the servers where they cannot reach each other.
        store_dir: Directory where a server keeps its data, in the QMI home directory unless it is a full path. None:
            ``site`` there.
    """

    servers: list[ServerUrl] = field(default_factory=list)
    required: Flag = False
    buffer_bytes: Size = 8 * MIB
    history: CfgHistory = field(default_factory=CfgHistory)
    names: list[Name] = field(default_factory=list)
    relay: Flag = False
    store_dir: FileName | None = None

    def __post_init__(self) -> None:
        if self.required and not self.servers:
            raise QMI_ConfigurationException("expected servers beside required, found none")
        addresses = self.addresses
        if twice := next((server for server in addresses if addresses.count(server) > 1), None):
            raise QMI_ConfigurationException(f"expected each server once, found {twice} twice")
        if len(addresses) == 2:
            raise QMI_ConfigurationException(
                "expected one server, or three that stand in for each other, found two: neither could go on alone"
            )
        if len(addresses) > 1 and (high := [server for server in addresses if server.port > HIGHEST_PORT]):
            raise QMI_ConfigurationException(
                f"expected ports up to {HIGHEST_PORT}, since several servers talk to each other at the port "
                f"{CLUSTER_OFFSET} above, found {high[0]}"
            )

    @property
    def enabled(self) -> bool:
        """Whether there is a site."""
        return bool(self.servers)

    @property
    def addresses(self) -> list[HostPort]:
        """Where the servers are."""
        # A configuration that a program makes is checked when a context starts with it.
        return [address for server in self.servers if (address := parse_server_url(server)) is not None]


class CfgQmi(Struct):
    """The whole configuration.

    Attributes:
        config_file: The file that the configuration came from, filled in when it is read; None without a file.
        workgroup: Only programs of one workgroup find and accept each other.
        qmi_home: Directory for files of QMI. None: ``$QMI_HOME``, else the home directory.
        log_dir: Directory for log files. None: the QMI home directory.
        datastore: Directory for measured data. None: the QMI home directory.
        logging: Which log messages are kept, and where.
        contexts: The known contexts by name.
        process_management: What ``qmi_proc`` needs.
        security: Files for TLS.
        limits: How much a peer may ask for.
        discovery: How contexts find each other.
        site: The servers that many contexts exchange signals by, if there are any.
        drivers: Folders that drivers are looked for in: with ``qmi/instruments`` in them, or with packages of drivers.
        simulate: Whether instruments are simulated, so that the programs of the laboratory run without its devices.
    """

    config_file: FileName | None = None
    workgroup: Name = "default"
    qmi_home: FileName | None = None
    log_dir: FileName | None = None
    datastore: FileName | None = None
    logging: CfgLogging = field(default_factory=CfgLogging)
    contexts: dict[Name, CfgContext] = field(default_factory=dict)
    process_management: CfgProcessManagement = field(default_factory=CfgProcessManagement)
    security: CfgSecurity = field(default_factory=CfgSecurity)
    limits: CfgLimits = field(default_factory=CfgLimits)
    discovery: CfgDiscovery = field(default_factory=CfgDiscovery)
    site: CfgSite = field(default_factory=CfgSite)
    drivers: list[FileName] = field(default_factory=list)
    simulate: Flag = False

    def __post_init__(self) -> None:
        for name, context in self.contexts.items():
            if isinstance(context, CfgContext) and context.web is not None:
                self._check_web(name, context.web)

    def _check_web(self, name: str, web: CfgWeb) -> None:
        served_by = web.name_beside(name)
        other = self.contexts.get(served_by)
        if served_by == name or (isinstance(other, CfgContext) and other.tcp_server_port is not None):
            raise QMI_ConfigurationException(
                f"contexts.{name}.web.name: expected a name that is none of a server, since the program of the pages "
                f"connects to them all, found {served_by!r}"
            )
        if len(served_by) > MAX_NAME_LENGTH:
            raise QMI_ConfigurationException(
                f"contexts.{name}.web.name: expected one, since {served_by!r} is longer than {MAX_NAME_LENGTH} letters"
            )
        if is_open_to_others(web.bind) and web.certificate is None and not self.security.enabled:
            raise QMI_ConfigurationException(
                f"contexts.{name}.web.bind: expected a certificate and its key beside it (or a section security), "
                f"since others could read passwords at {web.bind!r}; without, bind {DEFAULT_BIND!r} and have others "
                "come through SSH"
            )


for _name in __all__:
    globals()[_name].__module__ = "qmi.core.config_defs"
del _name
