"""What commands have learned of a laboratory, kept for completion: contexts, objects, and what these offer.

A file for each configuration and workgroup, in the cache folder of the user. Whatever goes wrong with it is no error:
then nothing is completed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

KINDS = ("methods", "parameters", "signals")


@dataclass
class Members:
    """What an object offers.

    Attributes:
        learned: When that was learned, in seconds since 1970.
        kinds: "methods", "parameters" and "signals": name -> what it is, in a line.
    """

    learned: float = 0.0
    kinds: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class Known:
    """A context.

    Attributes:
        learned: When its objects were learned, in seconds since 1970; 0 if they are not known.
        objects: Name -> class.
        members: Name -> what it offers, as far as that is known.
    """

    learned: float = 0.0
    objects: dict[str, str] = field(default_factory=dict)
    members: dict[str, Members] = field(default_factory=dict)


@dataclass
class Cache:
    """What is known of a laboratory.

    Attributes:
        learned: When the network was last asked for contexts, in seconds since 1970.
        contexts: Name -> context.
    """

    learned: float = 0.0
    contexts: dict[str, Known] = field(default_factory=dict)

    def saw_contexts(self, names: Iterable[str]) -> None:
        """These are all contexts that there are."""
        self.learned = time.time()
        self.contexts = {name: self.contexts.get(name, Known()) for name in names}

    def saw_objects(self, context: str, objects: Mapping[str, str]) -> None:
        """These are all objects of a context, with their classes."""
        known = self.contexts.setdefault(context, Known())
        known.learned, known.objects = time.time(), dict(objects)
        known.members = {name: members for name, members in known.members.items() if name in objects}

    def saw_members(self, context: str, name: str, class_name: str, kinds: Mapping[str, Mapping[str, str]]) -> None:
        """That is what an object offers."""
        known = self.contexts.setdefault(context, Known())
        known.objects.setdefault(name, class_name)
        known.members[name] = Members(time.time(), {kind: dict(names) for kind, names in kinds.items()})

    def take(self, newer: Cache) -> None:
        """Take over what another one knows better."""
        if newer.learned:
            self.learned = newer.learned
            self.contexts = {name: self.contexts.get(name, Known()) for name in newer.contexts}
        for name, known in newer.contexts.items():
            if known.learned:
                self.saw_objects(name, known.objects)
            for entry, members in known.members.items():
                self.saw_members(name, entry, known.objects.get(entry, ""), members.kinds)


def folder() -> str:
    """The folder of the user for what can be found out again."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return os.path.join(given, "qmi")
    if sys.platform == "win32":
        return os.path.join(os.environ.get("LOCALAPPDATA") or os.path.expanduser("~"), "qmi", "cache")
    else:  # noqa: RET505 - for a type checker, each system has one branch
        return os.path.expanduser("~/Library/Caches/qmi" if sys.platform == "darwin" else "~/.cache/qmi")


def file_of(config: str, workgroup: str) -> str:
    """The file for a configuration and a workgroup.

    Args:
        config: As it was given with ``--config``; empty for the usual one.
        workgroup: As it was given; empty for the configured one.
    """
    path = config or os.environ.get("QMI_CONFIG", "")
    key = f"{os.path.abspath(os.path.expanduser(path)) if path else os.path.expanduser('~')}\0{workgroup}"
    return os.path.join(folder(), f"completion-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json")


def load(path: str) -> Cache:
    """What is known; nothing if the file is not there or is not one of these."""
    try:
        with open(path, encoding="utf-8") as file:
            return _cache(json.load(file))
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return Cache()


def _cache(plain: Any) -> Cache:
    contexts: dict[str, Known] = {}
    for name, known in plain["contexts"].items():
        members = {
            str(entry): Members(
                _moment(found["learned"]), {kind: _texts(found["kinds"].get(kind, {})) for kind in KINDS}
            )
            for entry, found in known["members"].items()
        }
        contexts[str(name)] = Known(_moment(known["learned"]), _texts(known["objects"]), members)
    return Cache(_moment(plain["learned"]), contexts)


def _moment(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _texts(plain: Mapping[object, object]) -> dict[str, str]:
    return {str(name): str(text) for name, text in plain.items()}


def learn(path: str, learned: Cache) -> None:
    """Add to the file what a command has learned."""
    from qmi.config.files import make_private_dirs

    with suppress(OSError, ValueError):
        cache = load(path)
        cache.take(learned)
        make_private_dirs(os.path.dirname(path))
        # Two commands may write at once: each replaces the whole file, and what one of them has learned is lost.
        new = f"{path}.{os.getpid()}"
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(_plain(cache), file, ensure_ascii=False)
            os.replace(new, path)
        finally:
            with suppress(OSError):
                os.unlink(new)


def _plain(cache: Cache) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(cache)
