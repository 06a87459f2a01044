"""The last turn of an object: in it the object is brought into its safe state, if it has one, and released."""

from __future__ import annotations

from qmi.actors.future import Turn
from qmi.actors.safe_states import Reason
from qmi.messages import Origin


class EndTurn(Turn):
    """The end of the object: its last turn.

    Attributes:
        why: Why it is brought into its safe state first; None if it is not, or has been.
    """

    __slots__ = ("why",)

    def __init__(self, where: str, origin: Origin, why: Reason | None = None) -> None:
        super().__init__(f"the release of {where}", origin)
        self.why: Reason | None = why

    @property
    def text(self) -> str:
        """What it does, for people."""
        return "release_rpc_object()"

    def end(self, faults: list[BaseException]) -> None:
        """The object is released, in spite of what went wrong on the way."""
        if not faults:
            self.set_result(None)
        elif len(faults) == 1:
            self.fail(faults[0])
        else:
            self.fail(BaseExceptionGroup("several things went wrong", faults))

    def forget_error(self) -> None:
        """The frames of its traceback hold the driver, and the actor keeps its last turn."""
        self._error = self._traceback = None
