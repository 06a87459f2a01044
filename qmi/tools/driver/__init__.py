"""The command for authors of drivers, ``python -m qmi.tools.driver``: a package to begin with, and what follows.

Each subcommand has a file of its own, which is imported when it is used.
"""
