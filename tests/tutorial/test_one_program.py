"""The sections of the tutorial that need one program, typed and run as they stand there."""

from __future__ import annotations

import re

from tests.support.desk import ANYTHING, CONTEXT, LOG_LINES, NUMBER, Desk, follow
from tests.support.tutorial import Tutorial

IMPORTS = ("import qmi", "from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator")


def test_hello_qmi(tutorial: Tutorial, desk: Desk) -> None:
    prompt = desk.prompt()
    for session in tutorial["Hello QMI!"].sessions:
        follow(prompt, session)
    assert prompt.leave() == (0, "\n")
    assert [path.name for path in desk.home.iterdir() if path.name != ".python_history"] == []


def test_leaving_without_stop_warns(tutorial: Tutorial, desk: Desk) -> None:
    prompt = desk.prompt()
    follow(prompt, tutorial["Hello QMI!"].sessions[0])
    status, printed = prompt.leave()
    assert status == 0
    assert re.fullmatch(rf"\n{LOG_LINES}", printed)
    assert "WARNING" in printed
    assert "call qmi.stop()" in printed


def test_controlling_an_instrument(tutorial: Tutorial, desk: Desk) -> None:
    prompt = desk.prompt()
    graph = r"(\s*\*\n?){50}"
    for session in tutorial["Controlling a QMI instrument"].sessions:
        if "range(1000)" in session.steps[-1].text:
            session = session.replace("range(1000)", "range(50)")
        follow(prompt, session, {"help(nsg)": ANYTHING, "for i in range": graph})
    assert prompt.leave() == (0, "\n")


def test_help_mentions_the_methods(tutorial: Tutorial, desk: Desk) -> None:
    prompt = desk.prompt()
    for session in tutorial["Controlling a QMI instrument"].sessions[:3]:
        follow(prompt, session)
    printed = prompt.type("help(nsg)")
    for method in ("get_sample", "set_amplitude", "get_frequency", "lock"):
        assert f" |  {method}(self" in printed


def test_locking_an_instrument(tutorial: Tutorial, desk: Desk) -> None:
    prompt = desk.prompt()
    for line in IMPORTS:
        assert prompt.type(line) == ""
    # The last one is typed in another program.
    for session in tutorial["Locking an instrument"].sessions[:-1]:
        follow(prompt, session)
    assert prompt.type("qmi.stop()") == ""


def test_configuration(tutorial: Tutorial, desk: Desk) -> None:
    section = tutorial["Configuration"]
    desk.write("qmi.conf", section.configuration)
    prompt = desk.prompt()
    (session,) = section.sessions
    follow(prompt, session, {"qmi.start(": LOG_LINES + CONTEXT})
    assert re.fullmatch(LOG_LINES, prompt.type("qmi.stop()"))


def test_configuration_file_can_be_named_in_the_call_or_in_the_environment(tutorial: Tutorial, desk: Desk) -> None:
    path = desk.write("other.conf", tutorial["Configuration"].configuration)
    prompt = desk.prompt()
    prompt.type("import qmi, os")
    assert re.fullmatch(CONTEXT, prompt.type("qmi.start('a')").strip())
    assert prompt.type("qmi.stop()") == ""
    assert re.fullmatch(LOG_LINES + CONTEXT, prompt.type(f"qmi.start('a', {str(path)!r})").strip())
    prompt.type("qmi.stop()")
    prompt.type(f"os.environ['QMI_CONFIG'] = {str(path)!r}")
    assert re.fullmatch(LOG_LINES + CONTEXT, prompt.type("qmi.start('a')").strip())


def test_measurement_script(tutorial: Tutorial, desk: Desk) -> None:
    section = tutorial["A simple QMI measurement script"]
    desk.write("measure_demo.py", section.file("measure_demo.py"))
    (command,) = section.commands
    run = desk.run(command)
    assert run.returncode == 0
    assert run.stderr == ""
    assert re.fullmatch(rf"number of samples: 1000\nmean sample value: {NUMBER}\n", run.stdout)


def test_start_and_stop_by_either_way_do_the_same(tutorial: Tutorial, desk: Desk) -> None:
    section = tutorial["A simple QMI measurement script"]
    printed = []
    for part in ("with start_stop", "qmi.stop()"):
        text, *_ = (short.text for short in section.literals if part in short.text and "custom_code_here" in short.text)
        custom = text.replace("custom_code_here ...", "print(qmi.context())")
        desk.write("script.py", f"import qmi\nfrom qmi.utils.context_managers import start_stop\n{custom}")
        run = desk.run("python3 script.py")
        assert (run.returncode, run.stderr) == (0, "")
        printed.append(run.stdout)
    assert printed == ["QMI_context(name='name')\n"] * 2
