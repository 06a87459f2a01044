"""Data of measurements: arrays with labels and units, folders of files, recorders."""
