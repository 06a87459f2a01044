"""What ``qmi doctor`` finds: the command is run, so that a page says what it says."""

from __future__ import annotations

import json
import subprocess
import sys

import trio

from qmi.errors import QMI_RuntimeException

_KEPT = 10.0
_PATIENCE = 60.0


class Doctor:
    """Runs the command, once for all who ask within some seconds.

    Args:
        config_file: The configuration; empty for the usual one.
    """

    def __init__(self, config_file: str) -> None:
        self._config_file = config_file
        self._lock = trio.Lock()
        self._found: list[object] | None = None
        self._when = 0.0

    async def findings(self) -> list[object]:
        """What was found, as ``qmi doctor --json`` tells it.

        Raises:
            QMI_RuntimeException: If the command has failed.
        """
        async with self._lock:
            if self._found is None or trio.current_time() - self._when > _KEPT:
                self._found = await self._look()
                self._when = trio.current_time()
            return self._found

    async def _look(self) -> list[object]:
        command = [sys.executable, "-P", "-m", "qmi", "doctor", "--json", "--all"]
        command += ["--config", self._config_file] if self._config_file else []
        with trio.move_on_after(_PATIENCE):
            done = await trio.run_process(
                command, capture_stdout=True, capture_stderr=True, check=False, stdin=subprocess.DEVNULL
            )
            try:
                found = json.loads(done.stdout)
            except ValueError:
                found = None
            if isinstance(found, list):
                return found
            raise QMI_RuntimeException(f"qmi doctor has failed: {done.stderr.decode(errors='replace').strip()}")
        raise QMI_RuntimeException(f"qmi doctor did not end within {_PATIENCE:g} s")
