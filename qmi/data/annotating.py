"""Comments and tags of runs that have ended: added to the file of the run, and to the index."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qmi.data import run_file
from qmi.data.archive import file_of_run
from qmi.data.file_lock import changing
from qmi.data.recording import checked_tags
from qmi.data.run_folder import RunFolder
from qmi.data.run_index import RunInfo, info_of
from qmi.data.stored_texts import stored, stored_text
from qmi.data.whole_files import place, temporary_file
from qmi.errors import QMI_InvalidValueException, QMI_RecordingException


def annotate(
    run: str | RunInfo,
    *,
    comment: str = "",
    tags: Iterable[str] = (),
    remove_tags: Iterable[str] = (),
    folder: str | Path | None = None,
) -> RunInfo:
    """Add a comment or tags to a run that has ended, or take tags away from it.

    The rows are as before. The file is replaced by one with the new texts when that one is whole, which takes the time
    that copying it takes; whoever is reading it goes on with the former one. While a run lasts, its own
    :meth:`Run.comment` and :meth:`Run.tag` do that.

    Args:
        run: The run, as for :func:`load`.
        comment: A comment, which is kept with the time of now; earlier ones stay.
        tags: Tags to add.
        remove_tags: Tags to take away.
        folder: Where the runs are; as for :func:`run`.

    Returns:
        What the index has of it now.

    Raises:
        QMI_InvalidValueException: If there is nothing to change, or it has no such tag to take away.
        QMI_UnknownNameException: If there is no such run, or it still lasts.
        QMI_RecordingException: If its file cannot be read or written; it is as before then.
    """
    if not isinstance(comment, str):
        raise QMI_InvalidValueException(f"comment must be a text, got {comment!r}")
    added, removed = checked_tags(tags), checked_tags(remove_tags)
    if both := [tag for tag in added if tag in removed]:
        raise QMI_InvalidValueException(f"tags and remove_tags must have no tag in common, got {both[0]!r} in both")
    if not (comment or added or removed):
        raise QMI_InvalidValueException("annotate() needs a comment, tags or remove_tags; got none of them")
    run_file.check_libraries()
    file = file_of_run(run, folder)
    try:
        with changing(file):
            attributes = run_file.read_attributes(file)
            changed = _changed(file.stem, attributes, stored_text(comment), added, removed)
            with temporary_file(file) as temporary:
                shutil.copyfile(file, temporary)
                shutil.copymode(file, temporary)
                run_file.write_attributes(temporary, changed)
                place(temporary, file, overwrite=True)
            info = replace(info_of({**attributes, **changed}, file), run_id=file.stem)
            RunFolder(file.parent.parent).enter(info)
    except QMI_InvalidValueException:
        raise
    except (OSError, KeyError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise QMI_RecordingException(f"{file} cannot be changed: {reason}. It is as it was") from error
    return info


def _changed(
    run_id: str, attributes: dict[str, Any], comment: str, added: list[str], removed: list[str]
) -> dict[str, str]:
    """The attributes of a file that change, with their new values."""
    changed = {}
    before = json.loads(attributes["tags"])
    if unknown := [tag for tag in removed if tag not in before]:
        has = ", ".join(map(repr, before)) or "none"
        raise QMI_InvalidValueException(
            f"remove_tags must be tags of run {run_id}, which has {has}; got {unknown[0]!r}"
        )
    tags = list(dict.fromkeys([*(tag for tag in before if tag not in removed), *stored(added)]))
    if tags != before:
        changed["tags"] = json.dumps(tags, ensure_ascii=False)
    if comment:
        metadata = json.loads(attributes["qmi_metadata"])
        comments = [*metadata.get("comments", ()), {"time": datetime.now(UTC).isoformat(), "text": comment}]
        changed["qmi_metadata"] = json.dumps({**metadata, "comments": comments}, ensure_ascii=False)
        changed["comment"] = "\n".join(str(one["text"]) for one in comments)
    return changed
