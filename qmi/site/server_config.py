"""What a server of a site is told: the text of its configuration, and the streams that it keeps. Nothing runs here.

*Who may what* is decided by certificates. Each name of the configuration is a user, known by the subject of its
certificate, who publishes under its own name and hears everybody; a certificate for ``*`` may use every name. Contexts
cannot make streams or consumers: where those deliver to is not checked against the rights of whoever made them, so
that anybody could publish under another's name. For the same reason the servers' certificate is one of its own, and is
demanded of the servers among each other, too.

Of the server's own events, two are passed on to the contexts: who connects and who is gone.

The text is JSON, which the server reads as well as its own notation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from qmi.config.schema import CLUSTER_OFFSET, CfgQmi, CfgSecurity
from qmi.names import HostPort, certificate_uri
from qmi.site.subjects import ANY, REST, ROOT, Kind, escape, every, stream_name

Plain: TypeAlias = dict[str, object]

SERVER_NAME: Final = "qmi_site"
"""Whom the certificate of a server is for: ``qmi certs cert qmi_site``."""

COMMANDS_NAME: Final = "qmi_proc"
"""Whom the certificate of commands is for, if it is not for every name."""

ACCOUNT: Final = "SITE"
CONNECTED: Final = f"$SYS.ACCOUNT.{ACCOUNT}.CONNECT"
"""Where a server tells who has connected."""
DISCONNECTED: Final = f"$SYS.ACCOUNT.{ACCOUNT}.DISCONNECT"
"""Where a server tells who is gone."""
CONNECTIONS: Final = "$SYS.REQ.ACCOUNT.PING.CONNZ"
"""Where each server is asked who is connected."""

MAX_PAYLOAD: Final = 1 << 20
"""Bytes of a message. What is larger goes over links."""
MAX_PENDING: Final = 64 << 20
"""Bytes that wait in a server for one context that does not read them."""
PRESENCE_SECONDS: Final = 3600.0
"""How long a server keeps what a context said of itself, unless it says it again."""

_OWN: Final = "own"
_NO_PASSWORD: Final = "$2a$04$" + 53 * "."
"""A digest that no password is known to have."""
_SYSTEM: Final = "SYS"
_MEMORY: Final = 64 << 20
_LOG_BYTES: Final = 16 << 20
_DISK: Final = 1 << 50
"""No limit in truth: each stream has its own, which can be changed while a server runs, and this one cannot."""
_PRESENCE_BYTES: Final = 256 << 20
_LOG_BYTES_KEPT: Final = 256 << 20
_PINGS: Final = 2
_WRITE_SHARE: Final = 1 / 3
_REPLICAS: Final = 3


def server_config(
    config: CfgQmi, address: HostPort, security: CfgSecurity, directory: str, revoked: Iterable[int] = ()
) -> str:
    """The configuration of one server.

    Args:
        config: The configuration of the laboratory.
        address: Which of ``site.servers`` it is.
        security: The files for TLS, with full names, those of :data:`SERVER_NAME`.
        directory: Where it keeps its data, as a full path.
        revoked: Serial numbers of certificates that are refused.
    """
    plain: Plain = {
        "listen": str(address),
        "server_name": str(address),
        "max_payload": MAX_PAYLOAD,
        "max_pending": MAX_PENDING,
        **_patience(config.limits.peer_timeout),
        # A context that does not read must not hold up those that publish: it misses messages, and asks for them later.
        "no_fast_producer_stall": True,
        "logtime_utc": True,
        "log_size_limit": _LOG_BYTES,
        "jetstream": {
            "store_dir": directory,
            "max_file_store": _DISK,
            "max_memory_store": _MEMORY,
        },
        "system_account": _SYSTEM,
        "accounts": _accounts(config, security, revoked),
    }
    if security.enabled:
        plain["tls"] = _tls(security)
    else:
        plain["no_auth_user"] = _OWN
    if len(config.site.addresses) > 1:
        plain["cluster"] = _cluster(config, address, security)
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def _patience(silence: float) -> Plain:
    # A server asks for a sign of life after each interval, and hangs up when it would ask a third time and none has
    # come: three intervals, and one more if something came just before.
    interval = silence / (_PINGS + 2) * 0.9
    return {
        "ping_interval": _duration(interval),
        "ping_max": _PINGS,
        # The same for one that does not read: how long the system may refuse to take any more for it.
        "write_deadline": _duration(max(silence * _WRITE_SHARE, 0.1)),
    }


def _duration(seconds: float) -> str:
    return f"{max(round(seconds * 1000), 1)}ms"


def _tls(security: CfgSecurity) -> Plain:
    return {
        "cert_file": str(security.certificate),
        "key_file": str(security.key),
        "ca_file": str(security.ca),
        "verify_and_map": True,
        "min_version": "1.3",
        "timeout": 5,
    }


def _cluster(config: CfgQmi, address: HostPort, security: CfgSecurity) -> Plain:
    others = [cluster_address(other) for other in config.site.addresses if other != address]
    plain: Plain = {
        "name": f"qmi-{config.workgroup}",
        "listen": str(cluster_address(address)),
        "routes": [f"nats-route://{other}" for other in others],
        "no_advertise": True,  # the configuration of the contexts has all servers
    }
    if security.enabled:
        plain["tls"] = _tls(security)
        # Servers do not check each other's messages, so that no context may come as one.
        plain["authorization"] = {"user": distinguished_name(SERVER_NAME, config.workgroup)}
    return plain


def cluster_address(address: HostPort) -> HostPort:
    """Where a server listens for the others of its site."""
    return HostPort(address.host, address.port + CLUSTER_OFFSET)


# Who may what


def distinguished_name(context: str, workgroup: str) -> str:
    """How a server knows the certificate of a context, and tells who has connected."""
    return f"CN={context},O={workgroup}"


def certified_context(user: str, workgroup: str) -> str | None:
    """Which context a server says that a connection is of, by its certificate.

    Args:
        user: The user as a server tells.
        workgroup: The workgroup of the site.

    Returns:
        The name; ``*`` if it may use every name; None if there is no certificate, or one of another workgroup.
    """
    parts = user.split(",")
    names = {key: value for key, _, value in (part.strip().partition("=") for part in parts)}
    return names.get("CN") if len(parts) == 2 and names.get("O") == workgroup else None


def members(config: CfgQmi) -> list[str]:
    """The names that may connect where certificates tell who is who, in alphabetical order."""
    return sorted({*config.contexts, *config.site.names, COMMANDS_NAME} - {SERVER_NAME})


def rights(workgroup: str, context: str) -> Plain:
    """What a context may publish and hear.

    Args:
        workgroup: The workgroup.
        context: Its name; ``*`` stands for every name.
    """
    own = ANY if context == ANY else escape(context)
    spoken = (Kind.SIGNAL, Kind.PRESENCE, Kind.HEALTH, Kind.LOG, Kind.ROWS)
    heard = [every(workgroup, kind) for kind in spoken]
    asked = [f"{ROOT}.{escape(workgroup)}.{kind.value}.{own}" for kind in (Kind.ASK, Kind.INBOX, Kind.RELAY)]
    return {
        "publish": {
            "allow": [
                *_with_rest(f"{ROOT}.{escape(workgroup)}.{kind.value}.{own}" for kind in spoken),
                *_with_rest([f"{ROOT}.{escape(workgroup)}.{Kind.ASK.value}.{ANY}"]),
                every(workgroup, Kind.RELAY),
                *(f"$JS.API.{request}.{stream}{more}" for stream in stream_names(workgroup)
                  for request, more in (("DIRECT.GET", ""), ("DIRECT.GET", f".{REST}"), ("STREAM.INFO", ""))),
                CONNECTIONS,
            ]
        },
        "subscribe": {"allow": [*heard, *_with_rest(asked), CONNECTED, DISCONNECTED]},
        "allow_responses": {"max": 1, "expires": "2m"},
    }  # fmt: skip


def _with_rest(subjects: Iterable[str]) -> list[str]:
    return [form for subject in subjects for form in (subject, f"{subject}.{REST}")]


def _accounts(config: CfgQmi, security: CfgSecurity, revoked: Iterable[int]) -> Plain:
    events = (CONNECTED, DISCONNECTED)
    return {
        _SYSTEM: {"exports": [{"stream": event, "accounts": [ACCOUNT]} for event in events]},
        ACCOUNT: {
            "jetstream": True,
            "imports": [{"stream": {"account": _SYSTEM, "subject": event}} for event in events],
            "users": [*_users(config), *_refused(revoked)] if security.enabled else [_anybody()],
        },
    }


def _users(config: CfgQmi) -> list[Plain]:
    group = config.workgroup
    users: list[Plain] = [{"user": distinguished_name(SERVER_NAME, group)}]
    return users + [
        {"user": distinguished_name(name, group), "permissions": rights(group, name)}
        for name in [ANY, *members(config)]
    ]


def _refused(revoked: Iterable[int]) -> list[Plain]:
    # A server looks for a user by what a certificate calls itself before it looks by its name, and does not go on once
    # it has found one. This one has a password, whatever that may be.
    nothing: Plain = {"deny": REST}
    return [
        {
            "user": certificate_uri(serial),
            "password": _NO_PASSWORD,
            "permissions": {"publish": nothing, "subscribe": nothing},
        }
        for serial in sorted(revoked)
    ]


def _anybody() -> Plain:
    # Without certificates everybody may do everything but say who is there, which the server alone knows.
    return {"user": _OWN, "permissions": {"publish": {"deny": [CONNECTED, DISCONNECTED]}}}


# What is kept


def presence_stream(workgroup: str) -> str:
    """What the stream is called in which the servers keep what contexts say of themselves."""
    return f"qmi-{escape(workgroup)}-presence"


def log_stream(workgroup: str) -> str:
    """What the stream is called in which the servers keep what contexts have logged."""
    return f"qmi-{escape(workgroup)}-log"


def stream_names(workgroup: str) -> list[str]:
    """The streams of a workgroup."""
    return [stream_name(workgroup), presence_stream(workgroup), log_stream(workgroup)]


def streams(config: CfgQmi) -> Sequence[Plain]:
    """The streams that the servers keep, as they are asked for."""
    group, history = config.workgroup, config.site.history
    common: Plain = {
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "num_replicas": min(len(config.site.addresses), _REPLICAS),
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
        "max_consumers": -1,
        "max_msgs": -1,
        "max_msg_size": -1,
    }
    signals: Plain = {
        "name": stream_name(group),
        "subjects": [every(group, Kind.SIGNAL)],
        "max_msgs_per_subject": history.per_signal,
        "max_age": int(history.seconds * 1e9),
        "max_bytes": history.bytes,
    }
    presence: Plain = {
        "name": presence_stream(group),
        "subjects": [every(group, Kind.PRESENCE), every(group, Kind.HEALTH)],
        "max_msgs_per_subject": 1,
        "max_age": int(PRESENCE_SECONDS * 1e9),
        "max_bytes": _PRESENCE_BYTES,
    }
    log: Plain = {
        "name": log_stream(group),
        "subjects": [every(group, Kind.LOG)],
        "max_msgs_per_subject": history.per_signal,
        "max_age": int(history.seconds * 1e9),
        "max_bytes": min(history.bytes, _LOG_BYTES_KEPT),
    }
    return [{**common, **signals}, {**common, **presence}, {**common, **log}]
