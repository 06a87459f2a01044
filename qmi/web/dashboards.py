"""The values and plots that users have arranged: a JSON file for each dashboard, in a folder of the server's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from qmi.data.whole_files import write_whole
from qmi.errors import QMI_InvalidOperationException, QMI_InvalidValueException, QMI_UnknownNameException
from qmi.names import nearest
from qmi.web.dashboard_schema import usable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LARGEST = 1024 * 1024
_MOST = 500


class Dashboards:
    """The dashboards of a folder.

    Args:
        folder: The folder; it is made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Their names."""
        if not self._folder.is_dir():
            return []
        return sorted(path.stem for path in self._folder.glob("*.json") if _NAME.fullmatch(path.stem))

    def get(self, name: str) -> dict[str, Any]:
        """What can be shown of a dashboard; in ``"faults"``, what is wrong with the rest of its file, if anything is.

        Raises:
            QMI_UnknownNameException: If there is none of that name.
            QMI_InvalidOperationException: If its file cannot be read.
        """
        path = self._path(name)
        try:
            found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            near = nearest(name, self.names())
            hint = f": did you mean {near!r}?" if near else ""
            raise QMI_UnknownNameException(f"there is no dashboard {name!r}{hint}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise QMI_InvalidOperationException(f"the dashboard {path} cannot be read: {error}") from error
        if not isinstance(found, dict):
            raise QMI_InvalidOperationException(f"the dashboard {path} is no JSON object")
        content, faults = usable(found)
        return {**content, "faults": faults} if faults else content

    def put(self, name: str, content: dict[str, Any]) -> None:
        """Keep a dashboard, as a whole.

        Raises:
            QMI_InvalidValueException: If the name will not do, or it is too large.
            QMI_InvalidOperationException: If it cannot be written.
        """
        path = self._path(name)
        text = json.dumps(content, indent=1, ensure_ascii=False)
        if len(text) > _LARGEST:
            raise QMI_InvalidValueException(f"a dashboard has {_LARGEST} characters at most, got {len(text)}")
        if not path.exists() and len(self.names()) >= _MOST:
            raise QMI_InvalidOperationException(f"there are {_MOST} dashboards: delete one first")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, text.encode("utf-8", "replace"), overwrite=True)
        except OSError as error:
            raise QMI_InvalidOperationException(f"the dashboard {path} cannot be written: {error}") from error

    def delete(self, name: str) -> None:
        """Delete a dashboard.

        Raises:
            QMI_UnknownNameException: If there is none of that name.
            QMI_InvalidOperationException: If its file cannot be deleted.
        """
        path = self._path(name)
        try:
            path.unlink()
        except FileNotFoundError:
            raise QMI_UnknownNameException(f"there is no dashboard {name!r}") from None
        except OSError as error:
            raise QMI_InvalidOperationException(f"the dashboard {path} cannot be deleted: {error}") from error

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise QMI_InvalidValueException(
                f"the name of a dashboard has letters, digits and . _ -, at most 64 of them; got {name!r}"
            )
        return self._folder / f"{name}.json"
