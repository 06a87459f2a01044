"""Recording measured data: runs whose rows survive whatever ends the program.

::

    import qmi.data

    with qmi.data.run("cooldown", columns={"T": "K", "V": "V"}, tags=["sample A12"]) as run:
        run.add(T=4.2, V=0.013)

    qmi.data.runs(tag="sample A12")
    qmi.data.load(run.run_id).to_pandas()

Beside them: arrays with labels and units (:mod:`qmi.data.dataset`), folders of files (:mod:`qmi.data.datastore`), and
recorders of large arrays (:mod:`qmi.data.hdf5recorder`). Install the libraries for the files
with ``pip install 'qmi-trio[data]'``.
"""

from __future__ import annotations

from qmi.data.annotating import annotate
from qmi.data.archive import load, recover, runs
from qmi.data.export_files import export
from qmi.data.follower import Follower, follow
from qmi.data.plot_process import Plot
from qmi.data.plotting import plot
from qmi.data.record_gaps import Gap
from qmi.data.record_signals import Recording, SourceState, record
from qmi.data.recording import Run, run
from qmi.data.rows import Row
from qmi.data.run_index import RunInfo
from qmi.data.run_service import RunService

__all__ = [
    "Follower",
    "Gap",
    "Plot",
    "Recording",
    "Row",
    "Run",
    "RunInfo",
    "SourceState",
    "annotate",
    "export",
    "follow",
    "load",
    "plot",
    "record",
    "recover",
    "run",
    "runs",
]

for _name in __all__:
    globals()[_name].__module__ = "qmi.data"
del _name, RunService  # imported so that contexts have it
