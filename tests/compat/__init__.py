"""The drivers and driver tests of QMI, fetched and run with this library: ``make compat``."""
