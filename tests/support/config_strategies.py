"""Configurations for hypothesis, made from the rules' own words on what is allowed."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from qmi.config import schema
from qmi.config.validators import LOG_LEVELS

names = st.from_regex(r"[-_a-zA-Z0-9()]{1,63}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
paths = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
file_names = paths.filter(bool)
members = st.sampled_from(["psu.voltage", "lab.nsg.sig_sample", "a(1).outputs[12].level"])
hosts = st.sampled_from(["127.0.0.1", "::1", "lab-pc.example", "dæmon"])
levels = st.sampled_from(LOG_LEVELS)
counts = st.integers(1, 2**63 - 1)
seconds = st.floats(1e-9, 1e11) | st.integers(1, 10**6)


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


contexts = st.builds(
    schema.CfgContext,
    host=some(hosts),
    tcp_server_port=some(st.integers(0, 65535)),
    connect_to_peers=st.lists(names, max_size=3),
    enabled=st.booleans(),
    program_module=some(st.sampled_from(["proc_demo", "lab.laser.server", "möbius"])),
    program_args=st.lists(texts, max_size=3),
    python_path=some(paths),
    virtualenv_path=some(file_names),
    reconnect=st.booleans(),
    stop_grace=st.just(0) | seconds,
    record=st.dictionaries(names, st.lists(members, min_size=1, max_size=2), max_size=2),
)

configurations = st.builds(
    schema.CfgQmi,
    config_file=some(file_names),
    workgroup=names,
    qmi_home=some(file_names),
    log_dir=some(file_names),
    datastore=some(file_names),
    logging=st.builds(
        schema.CfgLogging,
        loglevel=levels,
        console_loglevel=levels,
        logfile=some(st.sampled_from(["qmi.log", "%(context)s-%(date)s.log", "100%%", "%(datetime)s"])),
        loglevels=st.dictionaries(texts, levels, max_size=3),
        rate_limit=some(seconds),
        burst_limit=counts,
        max_bytes=counts,
        backup_count=st.just(0) | counts,
    ),
    contexts=st.dictionaries(names, contexts, max_size=3),
    process_management=st.builds(
        schema.CfgProcessManagement,
        output_dir=some(file_names),
        hosts=st.dictionaries(
            hosts,
            st.builds(schema.CfgProcessHost, server_command=some(texts), ssh_host=some(hosts), ssh_user=some(texts)),
            max_size=2,
        ),
    ),
    security=st.just(schema.CfgSecurity()) | st.builds(schema.CfgSecurity, file_names, file_names, file_names),
    limits=st.builds(schema.CfgLimits, max_depth=st.integers(8, 200), hello_timeout=seconds, peer_timeout=seconds),
    discovery=st.builds(
        schema.CfgDiscovery,
        enabled=st.booleans(),
        port=st.integers(1, 65535),
        broadcast_addresses=st.lists(st.ip_addresses(v=4).map(str), max_size=2),
        timeout=seconds,
    ),
    site=st.builds(
        schema.CfgSite,
        servers=st.sampled_from([[], ["nats://127.0.0.1"], ["nats://[::1]:4222", "nats://b:1", "nats://c:63535"]]),
        buffer_bytes=st.integers(131072, 2**40),
        history=st.builds(schema.CfgHistory, per_signal=counts, seconds=seconds),
        names=st.lists(names, max_size=2),
        store_dir=some(file_names),
    ),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["logging", "contexts", "limits", "workgroup", "srv", "host"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
