"""The chapter of the demonstration in which the laboratory is shown in a browser."""

from __future__ import annotations

import _thread
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from qmi.runtime.flags import Flag
from qmi.tools.demo_programs import PATIENCE, hear, program, say, write_config
from qmi.tools.stage import Stage

ALONE = 60.0
"""For how long the pages are served while nobody looks at them, in seconds."""
LOOK = 1.0
"""How often it is seen whether somebody does, in seconds."""
SECTION: Mapping[str, Mapping[str, object]] = {
    "instruments": {
        "psu": {"driver": "qmi.instruments.scpi:Scpi_PowerSupply", "simulate": True},
        "scope": {"driver": "qmi.tools.demo_loop:Wandering"},
    },
    "tasks": {"hold": {"task": "qmi.tools.demo_loop:HoldAmplitude", "kwargs": {"loop_period": 0.05, "policy": "SKIP"}}},
    "web": {"bind": "127.0.0.1:0"},
}
"""What a configuration file has for it."""

_now = time.monotonic
_keys = os.read
_OPENER = build_opener(ProxyHandler({}))


def in_a_browser(stage: Stage) -> None:
    """The laboratory in a browser."""
    stage.say("A few lines of the configuration file are a program with instruments, a loop, and pages for a browser:")
    stage.code(_as_written(SECTION))
    missing = [name for name in ("anycorn", "argon2", "jinja2", "starlette", "uplot") if find_spec(name) is None]
    if missing:
        stage.say(f"Not installed here: {', '.join(missing)}. Type: pip install 'qmi-trio[web]'")
        return
    with tempfile.TemporaryDirectory() as directory:
        config = _write_config(Path(directory))
        with program("laboratory", config) as laboratory:
            late = threading.Timer(6 * PATIENCE, laboratory.kill)  # then what is waited for ends early
            late.start()
            try:
                url = _address(laboratory)
            finally:
                late.cancel()
            begin = time.perf_counter()
            size = len(_read(url))
            took = time.perf_counter() - begin
            stage.result(f"The first page comes in {took * 1e3:.0f} ms: {size / 1000:.1f} kB")
            token = (Path(directory) / "bench_web.token").read_text("utf-8").strip()
            stage.say("\nTo see it, open:")
            stage.address(f"{url}login#token={token}")
            _wait(stage, url)


def _as_written(section: Mapping[str, Mapping[str, object]]) -> str:
    """A section as somebody would write it: an instrument or task on each line."""
    lines: list[str] = []
    for name, content in section.items():
        if name == "web":
            lines.append(f'"{name}": {json.dumps(content)}')
            continue
        lines.append(f'"{name}": {{')
        lines += [f'    "{key}": {json.dumps(value)},' for key, value in content.items()]
        lines.append("},")
    return "\n".join(lines)


def _write_config(directory: Path) -> str:
    path = Path(write_config(directory))
    content = json.loads(path.read_text("utf-8"))
    content["qmi_home"] = str(directory)  # nothing is left behind
    content["contexts"]["bench"] |= SECTION
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def _address(laboratory: subprocess.Popen[str]) -> str:
    while True:
        words = hear(laboratory).split()
        if words[1:3] == ["pages", "at"]:
            return words[3]


def _read(url: str) -> str:
    with _OPENER.open(url, timeout=PATIENCE) as answer:
        text: str = answer.read().decode("utf-8")
    return text


def _wait(stage: Stage, url: str) -> None:
    """Wait for Enter or Ctrl-C, where somebody can press them; not for ever, if nobody looks."""
    if not (stage.is_live and sys.stdin is not None and sys.stdin.isatty()):
        stage.say("(At a terminal it is served until you press Enter; here it has ended.)")
        return
    stage.say(f"Enter ends it; so do {ALONE:g} s in which no browser looks.")
    pressed = Flag()
    threading.Thread(target=_wait_for_enter, args=(pressed,), name="enter", daemon=True).start()
    try:
        until = _now() + ALONE
        while _now() < until and not pressed.wait(LOOK):
            if _is_looked_at(url):
                until = _now() + ALONE
    except KeyboardInterrupt:  # as good as Enter
        pass


def _wait_for_enter(pressed: Flag) -> None:
    # Not sys.stdin: a thread that waits with the lock of a buffer in its hands keeps Python from ending.
    _keys(0, 4096)
    pressed.set()


def _is_looked_at(url: str) -> bool:
    try:
        text = _read(f"{url}metrics")
    except OSError:  # it is started again, perhaps
        return False
    return any(line.startswith("qmi_web_browsers ") and line.split()[1] != "0" for line in text.splitlines())


def laboratory(config: str) -> None:
    """Serve the laboratory until the input ends."""
    from qmi.tools import serve

    threading.Thread(target=_end_with_input, daemon=True).start()
    say("ready")
    serve.main(["bench", "--config", config])


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    _thread.interrupt_main()
