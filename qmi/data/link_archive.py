"""The runs of another computer: finding them and reading them over a link."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qmi.data import run_file
from qmi.data.follow_link import Asker, ask, connected, copied_file
from qmi.data.follow_steps import Step, finish
from qmi.data.index_queries import moment, stamp
from qmi.data.run_index import RunInfo
from qmi.data.run_metadata import active_context
from qmi.errors import QMI_InvalidValueException, QMI_NoActiveContextException, QMI_RecordingException

if TYPE_CHECKING:
    import xarray


def runs_of(context: str, folder: object, conditions: Mapping[str, Any]) -> list[RunInfo]:
    """The runs of the computer of a context; see :func:`qmi.data.runs`."""
    core = asker(context, folder)
    asked = {name: value for name, value in conditions.items() if value is not None}
    for name in ("since", "until"):
        if name in asked:
            asked[name] = stamp(moment(asked[name], name, datetime.now(UTC)))
    return finish(_list(core, context, asked), f"qmi.data.runs(context={context!r})")


def _list(core: Asker, context: str, conditions: dict[str, Any]) -> Generator[Step, None, list[RunInfo]]:
    yield from connected(core, context)
    found = yield from ask(core, context, "list_runs", conditions)
    try:
        return [_info(*fields) for fields in found]
    except (TypeError, ValueError) as error:
        raise QMI_RecordingException(f"context {context!r} answered something else than runs: {error}") from error


def _info(run_id: str, name: str, started: str, ended: str | None, *others: Any) -> RunInfo:
    state, rows, tags, comment, file = others
    end = None if ended is None else datetime.fromisoformat(ended)
    return RunInfo(
        run_id, name, datetime.fromisoformat(started), end, state, rows, tuple(tags), comment, Path(str(file))
    )


def load_from(context: str, folder: object, run: object) -> xarray.Dataset:
    """Read a run of the computer of a context; see :func:`qmi.data.load`."""
    run_file.check_libraries()
    name = run.run_id if isinstance(run, RunInfo) else run
    if not isinstance(name, str):
        raise QMI_InvalidValueException(f"run must be the id or the name of a run, got {run!r}")
    core = asker(context, folder)
    with tempfile.TemporaryDirectory(prefix="qmi-run-", ignore_cleanup_errors=True) as temporary:
        path = Path(temporary, "run.nc")
        finish(_copy(core, context, name, path), f"qmi.data.load({name!r}, context={context!r})")
        return run_file.read(path)


def copy_from(context: str, run: str, path: Path) -> None:
    """Copy the file of a run that has ended from the computer of a context; in a thread.

    Args:
        context: The context.
        run: The id of the run, or its name.
        path: Where to copy it to.

    Raises:
        QMI_UnknownNameException: If there is no such run, or it still lasts.
        QMI_RecordingException: If it cannot be written.
        QMI_ConnectionException: If the context cannot be reached.
    """
    finish(_copy(asker(context, None), context, run, path), f"copy_from({context!r}, {run!r}, {os.fspath(path)!r})")


def _copy(core: Asker, context: str, run: str, path: Path) -> Generator[Step, None, None]:
    yield from connected(core, context)
    found = yield from ask(core, context, "find", run, ended=True)
    yield from copied_file(core, context, (found["run_id"], found["via"]), path)


def asker(context: object, folder: object) -> Asker:
    """The context of this program that asks another one.

    Raises:
        QMI_InvalidValueException: If an argument will not do.
        QMI_NoActiveContextException: If this program has none.
    """
    if folder is not None:
        raise QMI_InvalidValueException("folder must be None where a context is given, which knows its own folder")
    here = active_context()
    if here is None:
        raise QMI_NoActiveContextException(
            f"the runs of context {context!r} are asked for over a link: call qmi.start() first, which makes a context"
        )
    return cast("Asker", here.async_context)
