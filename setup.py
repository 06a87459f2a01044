"""Adds qmi_trio_guard.pth to what is installed; everything else stands in pyproject.toml."""

from __future__ import annotations

import os
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py

GUARD = "qmi_trio_guard.pth"


class BuildWithGuard(build_py):
    """Puts the file beside the modules, where Python reads it when it starts."""

    def run(self) -> None:
        """Build, then add the file. What an earlier build has left is removed: its modules may be gone by now."""
        if not self.editable_mode:
            shutil.rmtree(os.path.join(self.build_lib, "qmi"), ignore_errors=True)
        super().run()
        if not self.editable_mode:
            with open(os.path.join(self.build_lib, GUARD), "w", encoding="utf-8") as file:
                file.write("import qmi_trio_guard\n")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Name the file among what was built."""
        guard = [] if self.editable_mode else [os.path.join(self.build_lib, GUARD)]
        return [*super().get_outputs(include_bytecode), *guard]


setup(cmdclass={"build_py": BuildWithGuard}, py_modules=["qmi_trio_guard"])
