"""Which instrument the code that runs here belongs to."""

from __future__ import annotations

from qmi.runtime.call_context import current_chain


def owner_name() -> str | None:
    """Name of the instrument whose constructor or method runs here, if one does."""
    chain = current_chain()
    return chain[-1].partition(".")[2] or None if chain else None
