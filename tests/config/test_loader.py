from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.config.loader import find_config_file, load_config, parse_config
from qmi.config.schema import CfgContext, CfgQmi
from qmi.config.structure import unstructure
from qmi.errors import QMI_ConfigurationException
from qmi.records import asdict
from tests.support.config_strategies import configurations, json_values
from tests.support.examples import examples

A_NAME = "a name of 1 to 63 letters, digits, '-', '_', '(' or ')'"
A_LEVEL = "a log level (DEBUG, INFO, WARNING, ERROR, CRITICAL)"
A_PORT = "a port number from 0 to 65535"
TUTORIAL = """
{
    # Log level for messages to the console.
    "logging": {
        "console_loglevel": "INFO"
    },

    "contexts": {
        # Testing remote instrument access.
        "instr_server": {
            "host": "127.0.0.1",
            "tcp_server_port": 40001
        },

        # Testing process management.
        "proc_demo": {
            "host": "127.0.0.1",
            "tcp_server_port": 40002,
            "enabled": true,
            "program_module": "proc_demo"
        }
    }
}
"""

KNOWN = (
    "expected one of ${context}, ${qmi_home}, ${datastore}, ${config_dir}, ${date}, ${datetime}, or an environment "
    "variable that is set, such as $HOME (a dollar sign itself is written $$)"
)
BAD: dict[str, tuple[str, list[str]]] = {
    # Syntax: the first fault, with line and column.
    "empty": ("", ["line 1, column 1: expected a value, found the end of the file"]),
    "comments only": ("# a\n// b\n", ["line 1, column 1: expected a value, found the end of the file"]),
    "cut off": ('{\n "logging": {', ["line 2, column 14: expected a key or '}', found the end of the file"]),
    "missing comma": (
        '{\n  "workgroup": "a"\n  "logging": {}\n}',
        ["line 3, column 3: expected ',' or '}', found \"logging\""],
    ),
    "missing comma in list": ("{a: [1 2]}", ["line 1, column 8: expected ',' or ']', found \"2\""]),
    "two commas": ("{a: 1,,}", ["line 1, column 7: expected a key or '}', found \",\""]),
    "missing colon": ('{"workgroup" "a"}', ["line 1, column 14: expected ':', found \"a\""]),
    "missing value": ('{"workgroup": }', ['line 1, column 15: expected a value, found "}"']),
    "equals sign": ('{"workgroup" = "a"}', ["line 1, column 14: expected ':', found \"=\""]),
    "wrong bracket": ('{"a": [1, 2}', ["line 1, column 12: expected ',' or ']', found \"}\""]),
    "bracket too many": ("{}\n}", ['line 2, column 1: expected the end of the file, found "}"']),
    "two objects": ("{} {}", ['line 1, column 4: expected the end of the file, found "{"']),
    "unfinished text": (
        '{"workgroup": "a\n}',
        ['line 1, column 15: expected a closing ", found a text without its end: "a'],
    ),
    "unfinished comment": (
        "{} /* note",
        ["line 1, column 4: expected a closing '*/', found a comment without its end: \"/* note\""],
    ),
    "python words": ('{"x": True}', ['line 1, column 7: expected a value, found "True"']),
    "word as value": ("{workgroup: lab}", ['line 1, column 13: expected a value, found "lab"']),
    "bad number": ("{x: 012}", ['line 1, column 5: expected a value, found "012"']),
    "number as key": ("{40001: 1}", ["line 1, column 2: expected a key or '}', found \"40001\""]),
    "bad escape": (
        '{"log_dir": "C:\\users"}',
        [
            (
                "line 1, column 16: expected a known escape such as \\n or \\u00b5 (in a file name, write / or \\\\), "
                'found the unknown escape \\u in "C:\\users"'
            ),
        ],
    ),
    "windows path": (
        '{"log_dir": "C:\\Users\\lab", "datastore": \'D:\\data\'}',
        [
            (
                "line 1, column 16: expected a known escape such as \\n or \\u00b5 (in a file name, write / or \\\\), "
                'found the unknown escape \\U in "C:\\Users\\lab"'
            ),
            (
                "line 1, column 45: expected a known escape such as \\n or \\u00b5 (in a file name, write / or \\\\), "
                "found the unknown escape \\d in \"'D:\\data'\""
            ),
        ],
    ),
    "windows path with known escapes": (
        '{"log_dir": "C:\\temp", "contexts": {"a": {"python_path": "\\new", "virtualenv_path": "C:/v\\f"}}}',
        [
            (
                "log_dir: expected the name of a file or directory without control characters "
                '(for a backslash, write / or \\\\), found "C:\\temp"'
            ),
            (
                "contexts.a.python_path: expected a text without control characters "
                '(for a backslash, write / or \\\\), found "\\new"'
            ),
            (
                "contexts.a.virtualenv_path: expected the name of a file or directory without control characters "
                '(for a backslash, write / or \\\\), found "C:/v\\f"'
            ),
        ],
    ),
    "unknown placeholders": (
        (
            '{"qmi_home": "/a/${date}", "log_dir": "${contxt}", "datastore": "$NO_SUCH", "logging": {"logfile": "a$"}, '
            '"contexts": {"a": {"python_path": "/x:~no-such-user/y"}}, "process_management": {"output_dir": "${x"}}'
        ),
        [
            (
                "qmi_home: found '${date}' in '/a/${date}', but what is kept in the QMI home directory has to be found "
                "again; use it in log_dir, datastore or logfile"
            ),
            "log_dir: Unknown '${contxt}' in the file name '${contxt}': did you mean ${context}? " + KNOWN,
            "datastore: Unknown '$NO_SUCH' in the file name '$NO_SUCH': " + KNOWN,
            "logging.logfile: Unknown '$' in the file name 'a$': " + KNOWN,
            "process_management.output_dir: Unknown '$' in the file name '${x': " + KNOWN,
            (
                "contexts.a.python_path: Unknown user in the file name '~no-such-user/y': '~no-such-user' has no home "
                "directory here (a name that begins with '~' is written './~no-such-user')"
            ),
        ],
    ),
    "directories that refer to themselves": (
        '{"qmi_home": "${datastore}/home", "datastore": "${qmi_home}/data", "log_dir": "${qmi_home}/log"}',
        [
            "qmi_home: qmi_home refers to itself: qmi_home -> datastore -> qmi_home",
            "log_dir: qmi_home refers to itself: qmi_home -> datastore -> qmi_home",
            "datastore: datastore refers to itself: datastore -> qmi_home -> datastore",
        ],
    ),
    "home below a datastore below home": (
        '{"qmi_home": "${datastore}/home", "datastore": "data"}',
        [
            "qmi_home: qmi_home refers to itself: qmi_home -> datastore -> qmi_home",
            "datastore: qmi_home refers to itself: qmi_home -> datastore -> qmi_home",
        ],
    ),
    "long token": ("{x: " + "y" * 50 + "}", [f'line 1, column 5: expected a value, found "{"y" * 30}..."']),
    "too deep": ("[" * 5000, ["objects and lists are nested too deeply to be read"]),
    "duplicate key": (
        '{"contexts": {"srv": {"host": "a", "host": "b"}}}',
        ["contexts.srv.host: the key occurs more than once, expected it once"],
    ),
    # Meaning: all faults, each with its path.
    "no object": ("[]", ["expected an object {...}, found a list [...]"]),
    "null": ("null", ["expected an object {...}, found null"]),
    "unknown key": ('{"loging": {}}', ['loging: unknown key; did you mean "logging"?']),
    "key in capitals": ('{"Workgroup": "a"}', ['Workgroup: unknown key; did you mean "workgroup"?']),
    "unknown key below": (
        '{"contexts": {"srv": {"tcp_port": 1}}}',
        ['contexts.srv.tcp_port: unknown key; did you mean "tcp_server_port"?'],
    ),
    "key like no other": (
        '{"discovery": {"xyz": 1}}',
        ["discovery.xyz: unknown key; known here are enabled, port, broadcast_addresses, timeout"],
    ),
    "section is null": ('{"logging": null}', ["logging: expected an object {...}, found null"]),
    "section is text": ('{"contexts": "srv"}', ['contexts: expected an object {...}, found "srv"']),
    "context is list": ('{"contexts": {"srv": []}}', ["contexts.srv: expected an object {...}, found a list [...]"]),
    "bad context name": (
        '{"contexts": {"my srv": {}}}',
        [f'contexts["my srv"]: name: expected {A_NAME}, found "my srv"'],
    ),
    "name with dot": ('{"contexts": {"a.b": {}}}', [f'contexts["a.b"]: name: expected {A_NAME}, found "a.b"']),
    "bad workgroup": ('{"workgroup": ""}', [f'workgroup: expected {A_NAME}, found ""']),
    "port as text": (
        '{"contexts": {"srv": {"tcp_server_port": "40001"}}}',
        [f'contexts.srv.tcp_server_port: expected {A_PORT}, found "40001"'],
    ),
    "port too large": (
        '{"contexts": {"srv": {"tcp_server_port": 70000}}}',
        [f"contexts.srv.tcp_server_port: expected {A_PORT}, found 70000"],
    ),
    "negative port": (
        '{"contexts": {"srv": {"tcp_server_port": -1}}}',
        [f"contexts.srv.tcp_server_port: expected {A_PORT}, found -1"],
    ),
    "port with fraction": (
        '{"contexts": {"srv": {"tcp_server_port": 4.5}}}',
        [f"contexts.srv.tcp_server_port: expected {A_PORT}, found 4.5"],
    ),
    "port is true": (
        '{"contexts": {"srv": {"tcp_server_port": true}}}',
        [f"contexts.srv.tcp_server_port: expected {A_PORT}, found true"],
    ),
    "simulate": (
        '{"simulate": 1, "contexts": {"srv": {"simulate": "yes"}}}',
        [
            'contexts.srv.simulate: expected true or false, found "yes"',
            "simulate: expected true or false, found 1",
        ],
    ),
    "flag is number": (
        '{"contexts": {"srv": {"enabled": 1}}}',
        ["contexts.srv.enabled: expected true or false, found 1"],
    ),
    "list is text": (
        '{"contexts": {"srv": {"program_args": "-v"}}}',
        ['contexts.srv.program_args: expected a list [...], found "-v"'],
    ),
    "item of list": (
        '{"contexts": {"srv": {"program_args": ["-n", 5]}}}',
        ["contexts.srv.program_args[1]: expected a text, found 5"],
    ),
    "peer name": (
        '{"contexts": {"srv": {"connect_to_peers": ["a:1"]}}}',
        [f'contexts.srv.connect_to_peers[0]: expected {A_NAME}, found "a:1"'],
    ),
    "module with path": (
        '{"contexts": {"srv": {"program_module": "srv.py/x"}}}',
        ["contexts.srv.program_module: expected the name of a module such as 'package.program', found \"srv.py/x\""],
    ),
    "driver with dots": (
        '{"contexts": {"srv": {"instruments": {"dmm": {"driver": "lab.meters.Meter"}}}}}',
        [
            (
                "contexts.srv.instruments.dmm.driver: expected a class as 'package.module:Class', such as "
                "'lab.meters:Meter', found \"lab.meters.Meter\""
            )
        ],
    ),
    "driver that is a number": (
        '{"contexts": {"srv": {"instruments": {"dmm": {"driver": 5}}}}}',
        ["contexts.srv.instruments.dmm.driver: expected a class as 'package.module:Class', found 5"],
    ),
    "instrument without a driver": (
        '{"contexts": {"srv": {"instruments": {"dmm": {}}}}}',
        ["contexts.srv.instruments.dmm: driver is missing: expected a class as 'package.module:Class'"],
    ),
    "task without a class, and faults beside it": (
        (
            '{"contexts": {"srv": {"tasks": {"t": {}}, "instruments": {'
            '"d:1": {"driver": "m:C", "kwarg": {}, "open": 1}}}}}'
        ),
        [
            'contexts.srv.instruments["d:1"]: name: ' + f'expected {A_NAME}, found "d:1"',
            'contexts.srv.instruments["d:1"].open: expected true or false, found 1',
            'contexts.srv.instruments["d:1"].kwarg: unknown key; did you mean "kwargs"?',
            "contexts.srv.tasks.t: task is missing: expected a class as 'package.module:Class'",
        ],
    ),
    "instruments as a list": (
        '{"contexts": {"srv": {"instruments": ["m:C"]}}}',
        ["contexts.srv.instruments: expected an object {...}, found a list [...]"],
    ),
    "one name twice": (
        '{"contexts": {"srv": {"instruments": {"a": {"driver": "m:C"}}, "tasks": {"a": {"task": "m:C"}}}}}',
        ["contexts.srv: expected names of their own, found 'a' in instruments and tasks"],
    ),
    "restart that shrinks": (
        '{"contexts": {"srv": {"tasks": {"a": {"task": "m:C", "restart": {"growth": 0.5}}}}}}',
        ["contexts.srv.tasks.a.restart: expected a growth of at least 1, found 0.5"],
    ),
    "restart with a bound below its beginning": (
        '{"contexts": {"srv": {"tasks": {"a": {"task": "m:C", "restart": {"first_delay": 60}}}}}}',
        ["contexts.srv.tasks.a.restart: expected a longest_delay of at least first_delay, found 30 and 60"],
    ),
    "host with space": (
        '{"contexts": {"srv": {"host": "my pc"}}}',
        ['contexts.srv.host: expected a host name or address without spaces, found "my pc"'],
    ),
    "log level": ('{"logging": {"loglevel": "info"}}', [f'logging.loglevel: expected {A_LEVEL}, found "info"']),
    "level of logger": (
        '{"logging": {"loglevels": {"qmi.core.rpc": 10}}}',
        [f'logging.loglevels["qmi.core.rpc"]: expected {A_LEVEL}, found 10'],
    ),
    "log file name": (
        '{"logging": {"logfile": "%(name)s.log"}}',
        [
            (
                "logging.logfile: expected a file name with no '%' but in %(context)s, %(date)s, %(datetime)s and %%, "
                'found "%(name)s.log"'
            )
        ],
    ),
    "rate is nan": ('{"logging": {"rate_limit": NaN}}', ["logging.rate_limit: expected a number above 0, found NaN"]),
    "infinite time": (
        '{"limits": {"peer_timeout": Infinity}}',
        ["limits.peer_timeout: expected a number above 0, found Infinity"],
    ),
    "limit that no value could obey": (
        '{"limits": {"max_body_bytes": 20000}}',
        ["limits.max_body_bytes: expected a whole number from 131072 (128 KiB), found 20000"],
    ),
    "limit is zero": ('{"limits": {"max_links": 0}}', ["limits.max_links: expected a whole number from 1, found 0"]),
    "negative grace": (
        '{"contexts": {"srv": {"stop_grace": -1}}}',
        ["contexts.srv.stop_grace: expected a number from 0, found -1"],
    ),
    "bad broadcast": (
        '{"discovery": {"broadcast_addresses": ["lab"]}}',
        ["discovery.broadcast_addresses[0]: expected an IPv4 address such as '192.168.1.255', found \"lab\""],
    ),
    "half of security": (
        '{"security": {"ca": "ca.pem", "key": "key.pem"}}',
        ["security: expected ca, certificate and key together, found only ca and key"],
    ),
    "missing key files": (
        '{"security": {"ca": "ca.pem", "certificate": "/x/c.pem", "key": "~/key.pem"}}',
        [
            "security.ca: the file {dir}/ca.pem does not exist",
            "security.certificate: the file /x/c.pem does not exist",
            "security.key: the file {home}/key.pem does not exist",
        ],
    ),
    "several": (
        '{"contexts": {"a": {"host": 1, "port": 2}, "b": {"enabled": "yes"}}, "workgroup": 7, "log": {}}',
        [
            f"workgroup: expected {A_NAME}, found 7",
            "contexts.a.host: expected a host name or address without spaces, found 1",
            "contexts.a.port: unknown key; known here are " + ", ".join(CfgContext.__struct_fields__),
            'contexts.b.enabled: expected true or false, found "yes"',
            'log: unknown key; did you mean "logging"?',
        ],
    ),
}


@pytest.mark.fault(27)
@pytest.mark.parametrize(("text", "faults"), BAD.values(), ids=BAD)
def test_fault_27_a_bad_file_is_refused_with_all_its_faults(
    text: str, faults: list[str], tmp_path: Path, home: Path
) -> None:
    path = tmp_path / "qmi.conf"
    path.write_text(text, encoding="utf-8")
    expected = [fault.replace("{dir}", str(tmp_path)).replace("{home}", str(home)) for fault in faults]
    with pytest.raises(QMI_ConfigurationException) as caught:
        load_config(path)
    assert list(caught.value.faults) == expected
    number = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    assert str(caught.value) == f"The configuration file {path} has {number}:\n  " + "\n  ".join(expected)


@pytest.mark.fault(27)
def test_fault_27_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "qmi.conf"
    path.write_bytes(b"{\n# caf\xe9\n}")
    with pytest.raises(QMI_ConfigurationException, match="line 2: expected UTF-8 text, found the byte 0xe9"):
        load_config(path)


@pytest.mark.fault(27)
def test_fault_27_a_directory_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(QMI_ConfigurationException) as caught:
        load_config(tmp_path)
    assert str(caught.value) == f"The configuration file {tmp_path} cannot be read: Is a directory"


@pytest.mark.fault(27)
def test_fault_27_a_missing_file_is_named_with_where_its_name_came_from(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(QMI_ConfigurationException) as caught:
        load_config("~/lab.conf")
    assert str(caught.value) == f"The configuration file {home}/lab.conf does not exist"
    monkeypatch.setenv("QMI_CONFIG", "/nowhere/qmi.conf")
    with pytest.raises(QMI_ConfigurationException) as caught:
        load_config()
    assert str(caught.value) == "The configuration file /nowhere/qmi.conf (from $QMI_CONFIG) does not exist"


@pytest.mark.fault(27)
@pytest.mark.parametrize("value", [5, ["qmi.conf"], CfgQmi(), b"qmi.conf"])
def test_fault_27_a_file_is_given_by_its_name(value: str) -> None:
    with pytest.raises(QMI_ConfigurationException, match="is given by its name, or as None; found"):
        load_config(value)


def test_the_argument_goes_before_the_variable_and_that_before_the_home_directory(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_config_file() is None
    (home / "qmi.conf").touch()
    assert find_config_file() == home / "qmi.conf"
    (home / "other.conf").touch()
    monkeypatch.setenv("QMI_CONFIG", "~/other.conf")
    assert find_config_file() == home / "other.conf"
    (tmp_path / "mine.conf").touch()
    monkeypatch.chdir(tmp_path)
    assert find_config_file("mine.conf") == tmp_path / "mine.conf"
    assert find_config_file(None) is None
    monkeypatch.setenv("QMI_CONFIG", "")
    assert find_config_file() == home / "qmi.conf"


def test_loader_without_a_file_gives_the_defaults() -> None:
    assert load_config() == CfgQmi()
    assert load_config(None) == CfgQmi()


def test_the_file_of_the_tutorial_is_read(home: Path) -> None:
    (home / "qmi.conf").write_text(TUTORIAL)
    config = load_config()
    assert config.config_file == str(home / "qmi.conf")
    assert config.logging.console_loglevel == "INFO"
    assert config.contexts == {
        "instr_server": CfgContext(host="127.0.0.1", tcp_server_port=40001),
        "proc_demo": CfgContext(host="127.0.0.1", tcp_server_port=40002, enabled=True, program_module="proc_demo"),
    }


def test_the_name_of_the_file_is_the_one_that_was_read(tmp_path: Path) -> None:
    path = tmp_path / "qmi.conf"
    path.write_text('{"config_file": "elsewhere"}')
    assert load_config(str(path)).config_file == str(path)


def test_key_files_are_found_beside_the_configuration(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "qmi.conf"
    path.write_text('{"security": {"ca": "ca.pem", "certificate": "pem/c.pem", "key": "~/key.pem"}}')
    (tmp_path / "pem").mkdir()
    files = (tmp_path / "ca.pem", tmp_path / "pem" / "c.pem", home / "key.pem")
    for file in files:
        file.touch()
    security = load_config(path).security
    assert (security.ca, security.certificate, security.key) == tuple(map(str, files))


@given(configurations)
@examples(40)
def test_a_configuration_survives_being_written_to_a_file(config: CfgQmi) -> None:
    text = "# all of it\n" + json.dumps(unstructure(config))
    assert parse_config(text) == config
    assert asdict(parse_config(text)) == asdict(config)


@given(json_values.map(json.dumps) | st.text(max_size=30))
@examples(200)
def test_any_text_is_a_configuration_or_is_refused(text: str) -> None:
    try:
        config = parse_config(text)
    except QMI_ConfigurationException as error:
        message = str(error)
    else:
        message = "The configuration is fine"
        assert isinstance(config, CfgQmi)
    assert message.startswith("The configuration ")
