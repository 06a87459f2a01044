from __future__ import annotations

from collections.abc import Iterator

import pytest

from qmi.config.schema import CfgContext, CfgQmi
from qmi.core.context import QMI_Context
from tests.support.drivers import Gate


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    """A blocking context that leaves stuck drivers behind quickly."""
    context = QMI_Context("lab", CfgQmi(contexts={"lab": CfgContext(stop_grace=0.3)}))
    with context:
        yield context


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is open at the end, so that nothing stays stuck."""
    gate = Gate()
    yield gate
    gate.open.set()
