"""Comments and tags of runs that have ended."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

import qmi.data
from qmi.core.exceptions import (
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_RecordingException,
    QMI_UnknownNameException,
)
from qmi.data import run_file
from qmi.data.run_details import details


@pytest.fixture
def ended(folder: Path) -> qmi.data.Run:
    with qmi.data.run("cooldown", {"T": "K"}, tags=["a", "b"], comment="first", folder=folder) as run:
        run.add(T=4.2)
        run.add(T=None)
    return run


def test_run_that_has_ended_gets_comments_and_tags(folder: Path, ended: qmi.data.Run) -> None:
    before = qmi.data.load("cooldown", folder=folder)
    info = qmi.data.annotate("cooldown", comment="a leak\0", tags=["c", "a"], remove_tags=["b"], folder=folder)
    assert (info.tags, info.comment) == (("a", "c"), "first\na leak\\x00")
    qmi.data.annotate(info, comment="mended", folder=folder)
    [found] = qmi.data.runs(tag="c", folder=folder)
    assert found.comment == "first\na leak\\x00\nmended"
    assert (found.run_id, found.state, found.rows) == (ended.run_id, "done", 2)
    assert list(qmi.data.runs(tag="b", folder=folder)) == []
    after = qmi.data.load(ended.run_id, folder=folder)
    assert after.equals(before)
    assert json.loads(after.attrs["tags"]) == ["a", "c"]
    changed = {name for name, value in after.attrs.items() if before.attrs[name] != value}
    assert changed == {"comment", "tags", "qmi_metadata"}
    told = [text for _, text in details(ended.run_id, folder=folder).comments]
    assert told == ["first", "a leak\\x00", "mended"]
    assert [row.T for row in qmi.data.follow(ended.run_id, folder=folder)] == [4.2, None]
    (folder / "index.sqlite").unlink()  # the file has it all
    qmi.data.recover(folder)
    assert [info.comment for info in qmi.data.runs(tag="c", folder=folder)] == [found.comment]
    assert sorted(path.name for path in ended.file.parent.iterdir()) == [ended.file.name]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "annotate.* needs a comment, tags or remove_tags; got none"),
        ({"comment": 5}, "comment must be a text, got 5"),
        ({"tags": [""]}, "tags must be texts, got ''"),
        ({"tags": 5}, "tags must be texts, got 5"),
        ({"remove_tags": ["x"]}, "remove_tags must be tags of run .*_cooldown, which has 'a', 'b'; got 'x'"),
        ({"tags": ["a"], "remove_tags": ["a"]}, "no tag in common, got 'a' in both"),
    ],
)
def test_annotation_that_will_not_do_is_refused(
    folder: Path, ended: qmi.data.Run, given: dict[str, Any], words: str
) -> None:
    content = ended.file.read_bytes()
    with pytest.raises(QMI_InvalidValueException, match=words):
        qmi.data.annotate("cooldown", **given, folder=folder)
    assert ended.file.read_bytes() == content


def test_run_that_lasts_or_is_not_there_is_not_annotated(folder: Path) -> None:
    lasting = qmi.data.run("cooldown", ["T"], folder=folder)
    with lasting, pytest.raises(QMI_UnknownNameException, match="still lasts"):
        qmi.data.annotate("cooldown", tags=["a"], folder=folder)
    with pytest.raises(QMI_UnknownNameException, match="there is no run"):
        qmi.data.annotate("warmup", tags=["a"], folder=folder)


def test_comment_in_a_run_that_has_ended_says_what_does_it(ended: qmi.data.Run) -> None:
    for late in (ended.comment, ended.tag):
        with pytest.raises(QMI_InvalidOperationException, match=rf"qmi.data.annotate\('{ended.run_id}', "):
            late("late")


@pytest.mark.parametrize("step", ["copyfile", "write", "replace"])
def test_annotation_that_fails_leaves_the_file_as_it_was(
    folder: Path, ended: qmi.data.Run, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    content = ended.file.read_bytes()
    with monkeypatch.context() as patch:
        if step == "copyfile":
            patch.setattr(shutil, "copyfile", full)
        elif step == "write":
            patch.setattr(run_file, "write_attributes", full)
        else:
            patch.setattr(os, "replace", full)
        with pytest.raises(
            QMI_RecordingException, match=r"cannot be changed: No space left on device\. It is as it was"
        ):
            qmi.data.annotate("cooldown", comment="late", folder=folder)
    assert ended.file.read_bytes() == content
    assert sorted(path.name for path in ended.file.parent.iterdir()) == [ended.file.name]
    assert qmi.data.annotate("cooldown", comment="late", folder=folder).comment == "first\nlate"


def test_annotations_at_the_same_time_are_all_kept(
    folder: Path, ended: qmi.data.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one comes while the first has read the file, and has not replaced it."""
    read = run_file.read_attributes
    second: list[threading.Thread] = []

    def read_and_wait(file: Path) -> dict[str, Any]:
        found: dict[str, Any] = read(file)
        if not second:
            second.append(threading.Thread(target=qmi.data.annotate, args=("cooldown",), kwargs=other))
            second[0].start()
        return found

    other = {"tags": ["second"], "folder": folder}
    monkeypatch.setattr(run_file, "read_attributes", read_and_wait)
    qmi.data.annotate("cooldown", tags=["first"], folder=folder)
    second[0].join(20)
    assert qmi.data.runs("cooldown", folder=folder)[0].tags == ("a", "b", "first", "second")
