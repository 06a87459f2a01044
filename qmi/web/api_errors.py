"""What is answered in place of a result: the errors of the HTTP API, each with what to do."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from qmi.config.validators import printable
from qmi.errors import (
    QMI_ConnectionException,
    QMI_Exception,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_MessageDeliveryException,
    QMI_ObjectLockedException,
    QMI_TimeoutException,
    QMI_UnknownNameException,
    QMI_UnknownRpcException,
    QMI_UsageException,
    QMI_ValueNotSendableException,
)
from qmi.presenting.call_arguments import WrongArgument
from qmi.web.authorization import Refusal

_logger = logging.getLogger("qmi.web")


class RefusedError(Exception):
    """A request is not carried out.

    Args:
        refusal: Why.
        kind: The type of the error.
        wait: After how many seconds it may be sent again; None if that would not help.
    """

    def __init__(self, refusal: Refusal, kind: str = "Refused", wait: float | None = None) -> None:
        super().__init__(refusal.message)
        self.refusal: Refusal = refusal
        self.kind: str = kind
        self.wait: float | None = wait


class DriverError(Exception):
    """What an object raised.

    Args:
        error: The error.
        argument: The argument that would not do; empty if the error does not say that one did not.
    """

    def __init__(self, error: Exception, argument: str = "") -> None:
        super().__init__(str(error))
        self.error: Exception = error
        self.argument: str = argument


_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (WrongArgument, 422),
    (QMI_ObjectLockedException, 423),
    (QMI_ConnectionException, 503),
    (QMI_MessageDeliveryException, 503),
    (QMI_TimeoutException, 504),
    (QMI_UnknownNameException, 404),
    (QMI_UnknownRpcException, 404),
    (QMI_InvalidOperationException, 409),
    (QMI_ValueNotSendableException, 422),
    (QMI_UsageException, 400),
)

_HINTS: Mapping[int, str] = {
    415: "send the header 'Content-Type: application/json' (curl has --json for that)",
    423: "ask for the lock: POST /api/objects/{context}/{object}/lock/request, or take it away: "
    "DELETE /api/objects/{context}/{object}/lock?force=true&reason=...",
    503: "GET /api/contexts says which contexts run; start the program of this one",
    504: 'GET /api/contexts/{context} says what the object does; a call may take longer: {{"timeout": seconds}}',
}


def status_of(error: Exception) -> int:
    """The status for an error: what the object raised is 502, as of a server behind this one."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 502)


def error_answer(error: Exception, request: Request) -> Response:
    """What is answered in place of a result.

    Args:
        error: What went wrong.
        request: In answer to what.
    """
    status, told = _told(error, request)
    argument = getattr(error.error, "argument", "") or error.argument if isinstance(error, DriverError) else ""
    argument = argument or getattr(error, "argument", "")
    if isinstance(argument, str) and argument:
        told["argument"] = argument
    if "hint" not in told and status in _HINTS:
        names = {"context": "CONTEXT", "object": "OBJECT", **request.path_params}
        told["hint"] = _HINTS[status].format_map({name: printable(str(text)) for name, text in names.items()})
    headers = {}
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="qmi"'
    if isinstance(error, RefusedError) and error.wait is not None:
        headers["retry-after"] = str(math.ceil(error.wait))
    return JSONResponse({"error": told}, status, headers)


def _told(error: Exception, request: Request) -> tuple[int, dict[str, str]]:
    if isinstance(error, RefusedError):
        hint = {"hint": error.refusal.hint} if error.refusal.hint else {}
        return error.refusal.status, {"type": error.kind, "message": error.refusal.message, **hint}
    cause = error.error if isinstance(error, DriverError) else error
    if isinstance(cause, QMI_Exception) or isinstance(error, DriverError):
        status = status_of(cause) if isinstance(cause, QMI_Exception) else 502
        if isinstance(error, DriverError) and status == 400:  # the request was understood, and the object refused it
            status = 422 if isinstance(cause, QMI_InvalidValueException) else 409
        return status, {"type": type(cause).__name__, "message": printable(str(cause)) or type(cause).__name__}
    if isinstance(error, trio.TooSlowError):
        return 504, {"type": "TooSlow", "message": "there was no answer in time"}
    if isinstance(error, ClientDisconnect):
        return 400, {"type": "BadRequest", "message": "the request has not come to its end"}
    _logger.error("%s %s failed", request.method, printable(request.url.path), exc_info=error)
    return 500, {"type": type(error).__name__, "message": "the server failed; its log says why"}
