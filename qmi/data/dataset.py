"""Arrays with labels, units and scales, and how they are kept in HDF5 and text files.

numpy is needed for them; HDF5 files need h5py, or h5netcdf, too: the extra ``data``.
"""

from __future__ import annotations

from qmi.data.hdf5_files import convert_to_qmi_dataset, read_dataset_from_hdf5, write_dataset_to_hdf5
from qmi.data.structure import DataSet
from qmi.data.text_files import read_dataset_from_text, write_dataset_to_text

__all__ = [
    "DataSet",
    "convert_to_qmi_dataset",
    "read_dataset_from_hdf5",
    "read_dataset_from_text",
    "write_dataset_to_hdf5",
    "write_dataset_to_text",
]
