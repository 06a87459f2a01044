"""A notebook: a real ipykernel, with cells that are run, interrupted and run again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.notebook import Notebook

SERVER = """
from qmi.core.context import QMI_Context
from qmi.core.config_defs import CfgContext, CfgQmi
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
import threading

class Driver(QMI_Instrument):
    @rpc_method
    def measure(self):
        return 1.0

    @rpc_method
    async def long(self):
        import trio
        await trio.sleep_forever()

def serve():
    server = QMI_Context("server", CfgQmi(contexts={"server": CfgContext(host="127.0.0.1", tcp_server_port=0)}))
    server.start()
    server.make_instrument("one", Driver)
    return server
"""

CONNECT = """
import qmi
from served import Driver, serve
server = serve()
qmi.start("notebook", None)
qmi.context().connect_to_peer("server", "127.0.0.1:%d" % server.get_tcp_server_port())
one = qmi.get_instrument("server.one")
link = qmi.context().async_context.connections.link_to("server")
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    (tmp_path / "served.py").write_text(SERVER)
    made = Notebook(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.slow
def test_cell_that_has_begun_runs_nothing_of_ipython_that_the_stop_button_could_strike(notebook: Notebook) -> None:
    assert notebook.run("import sys, threading\nplaces = set()") == ("", "")
    traced = "sys.setprofile(lambda frame, event, arg: places.add(frame.f_code.co_filename))\n"
    cell = notebook.begin(traced + "try:\n    threading.Event().wait()\nfinally:\n    sys.setprofile(None)")
    notebook.interrupt()
    assert notebook.end(cell)[1].startswith("KeyboardInterrupt")
    assert notebook.run("[place for place in places if 'IPython' in place or 'codeop' in place]") == ("[]\n", "")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fault_53_cell_that_is_interrupted_200_times_keeps_its_link(notebook: Notebook) -> None:
    assert notebook.run(CONNECT) == ("", "")
    for number in range(200):
        # Quick calls and a long one; the button is pressed at any moment of them.
        cell = notebook.begin("while True: one.measure()" if number % 2 else "one.measure(); one.long()")
        notebook.interrupt()
        assert notebook.end(cell)[1].startswith("KeyboardInterrupt"), number
    check = "(one.measure(rpc_timeout=10), qmi.context().async_context.connections.link_to('server') is link)"
    assert notebook.run(check) == ("(1.0, True)\n", "")
    assert notebook.run("qmi.stop(); server.stop()") == ("", "")


@pytest.mark.slow
def test_cells_are_run_again_awaited_and_interrupted(notebook: Notebook) -> None:
    assert notebook.run(CONNECT) == ("", "")
    # The first cell once more: the error says what to do.
    _, error = notebook.run('qmi.start("notebook", None)')
    assert error.startswith("QMI_UsageException: This program already has a context, 'notebook'")
    assert "qmi.stop()" in error
    assert "qmi.context()" in error
    assert notebook.run("qmi.context().name") == ("'notebook'\n", "")
    # An instrument is made twice.
    assert notebook.run('mine = qmi.make_instrument("mine", Driver)') == ("", "")
    _, error = notebook.run('mine = qmi.make_instrument("mine", Driver)')
    assert "get_instrument('mine')" in error
    assert "replace=True" in error
    assert notebook.run('mine = qmi.make_instrument("mine", Driver, replace=True); mine.measure()') == ("1.0\n", "")
    # A cell that awaits is refused, and the ways that the error names work.
    _, error = notebook.run("await one.rpc_async.measure()")
    assert error.startswith("QMI_UsageException: server.one.measure() can be awaited in a trio program only")
    assert notebook.run("one.measure()") == ("1.0\n", "")
    assert notebook.run("import asyncio\nawait asyncio.to_thread(one.measure)") == ("1.0\n", "")
    assert notebook.run("%load_ext qmi") == ("", "")
    assert notebook.run("await one.rpc_async.measure(), await mine.rpc_async.measure()") == ("(1.0, 1.0)\n", "")
    cell = notebook.begin("await one.rpc_async.long()")
    notebook.interrupt()
    _, error = notebook.end(cell)
    assert error.startswith(("KeyboardInterrupt", "CancelledError"))
    assert notebook.run("await one.rpc_async.measure()") == ("1.0\n", "")
    _, error = notebook.run("await qmi.context().async_context.list_rpc_objects()")
    assert error.startswith("QMI_UsageException: list_rpc_objects() of a context of a trio program can be awaited in")
    assert notebook.run("%reload_ext qmi\nawait one.rpc_async.measure()") == ("1.0\n", "")
    assert notebook.run("%unload_ext qmi") == ("", "")
    assert "can be awaited in a trio program only" in notebook.run("await one.rpc_async.measure()")[1]
    # The stop button, in a call of this program and in one of another.
    for call in ("one.long()", "mine.long()"):
        cell = notebook.begin(call)
        notebook.interrupt()
        assert notebook.end(cell)[1].startswith("KeyboardInterrupt")
    assert notebook.run("one.measure(), mine.measure()") == ("(1.0, 1.0)\n", "")
    assert notebook.run("%autoawait trio") == ("", "")
    assert notebook.run("await one.rpc_async.measure()") == ("1.0\n", "")
    cell = notebook.begin("await one.rpc_async.long()")
    notebook.interrupt()
    assert "KeyboardInterrupt" in notebook.end(cell)[1]
    assert notebook.run("await one.rpc_async.measure()") == ("1.0\n", "")
    for code in ("one.", "one.rpc_nonblocking.", "one.rpc_async."):
        assert "measure" in [found.rpartition(".")[2] for found in notebook.complete(code)], code
    assert notebook.run("qmi.stop(); server.stop()") == ("", "")


@pytest.mark.slow
def test_driver_that_was_reloaded_is_made_with_its_new_methods(notebook: Notebook, tmp_path: Path) -> None:
    assert notebook.run("import importlib, qmi, served; qmi.start('notebook', None)")[1] == ""
    assert notebook.run("one = qmi.make_instrument('one', served.Driver); one.measure()") == ("1.0\n", "")
    more = "return self.more()\n\n    @rpc_method\n    def more(self):\n        return 2.0"
    (tmp_path / "served.py").write_text(SERVER.replace("return 1.0", more))
    assert notebook.run("served = importlib.reload(served)") == ("", "")
    cell = "one = qmi.make_instrument('one', served.Driver, replace=True); one.measure(), one.more()"
    assert notebook.run(cell) == ("(2.0, 2.0)\n", "")
    assert notebook.run("qmi.stop()") == ("", "")


@pytest.mark.slow
def test_exception_in_a_cell_is_in_the_log_file(notebook: Notebook, tmp_path: Path) -> None:
    (tmp_path / "qmi.conf").write_text("{}")
    (tmp_path / "lab").mkdir()
    config = f"import os, qmi; os.environ['QMI_HOME'] = {str(tmp_path / 'lab')!r}; qmi.start('notebook', 'qmi.conf')"
    # Also of the very cell that starts the context; those of others stay out.
    assert notebook.run(config + "\n1 / 0")[1] == "ZeroDivisionError: division by zero"
    assert notebook.run("print('fine')") == ("fine\n", "")
    assert notebook.run("await undefined_name")[1].startswith("NameError")
    assert notebook.run("qmi.stop()") == ("", "")
    assert notebook.run("{}['after the stop']")[1].startswith("KeyError")
    lines = (tmp_path / "lab" / "qmi.log").read_text().splitlines()
    said = [line for line in lines if "An exception that nobody has caught ends a cell" in line]
    assert len(said) == 2
    assert all(" | CRITICAL | notebook[" in line for line in said)
    assert [line for line in lines if line.endswith("ZeroDivisionError: division by zero")]
    assert [line for line in lines if "| NameError: name 'undefined_name'" in line]
    assert not [line for line in lines if "KeyError" in line]
