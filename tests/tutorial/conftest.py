from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.desk import Desk
from tests.support.tutorial import Tutorial

BESIDE = Path(__file__).parents[3] / "shared" / "tutorial.rst"


@pytest.fixture(scope="session")
def tutorial() -> Tutorial:
    """The tutorial, from beside the repository or from where ``$QMI_TUTORIAL`` says."""
    path = Path(os.environ.get("QMI_TUTORIAL", BESIDE))
    if not path.exists():
        pytest.skip(f"the tutorial is not at {path}; QMI_TUTORIAL can say where it is")
    return Tutorial(path.read_text(encoding="utf-8"))


@pytest.fixture
def desk(home: Path) -> Iterator[Desk]:
    """A user's desk, with an empty home directory; whatever was started there is ended."""
    with Desk(home) as desk:
        yield desk
