"""The command ``qmi``: one module for each command, imported when that command is chosen."""
