"""Locks in the HTTP API: who holds one, taking and releasing it, asking the holder for it."""

from __future__ import annotations

from typing import Any

import trio

from qmi.actors.proxy import AsyncProxy
from qmi.errors import QMI_Exception, QMI_InvalidOperationException
from qmi.messages import LockInfo
from qmi.web.api import ApiCall, proxy_of
from qmi.web.lock_requests import user_elsewhere


async def _lock_info(proxy: AsyncProxy[Any]) -> LockInfo | None:
    """Who holds a lock; None if nobody does, or that is not told in time."""
    try:
        with trio.fail_after(5.0):
            info: LockInfo | None = await proxy.lock_info()
    except (QMI_Exception, trio.TooSlowError):
        return None
    return info


def _told(call: ApiCall, info: LockInfo | None) -> dict[str, object] | None:
    if info is None:
        return None
    # As a tuple, which is what travels, it has the first three.
    names = ("context", "label", "since", "reason", "user", "program", "host")
    holder = call.services.locks.holder(call.address, info)
    return {
        **{name: getattr(info, name) for name in names}, "describe": info.describe(), "web_user": holder,
        "mine": bool(holder) and holder == call.caller.user,
        "web_user_elsewhere": "" if holder else user_elsewhere(info),
    }  # fmt: skip


async def lock_json(call: ApiCall, proxy: AsyncProxy[Any]) -> dict[str, object] | None:
    """Who holds the lock of an object; None if nobody does, or that is not told."""
    return _told(call, await _lock_info(proxy))


async def get_lock(call: ApiCall) -> object:
    """Who holds the lock, and who asks a user of the pages for it."""
    lock = await lock_json(call, await proxy_of(call))
    requests = call.services.locks.of(call.address) if lock is not None and lock["web_user"] else []
    return {"lock": lock, "requests": [request.to_plain() for request in requests]}


def _token(call: ApiCall) -> str:
    return f"qmi web for {call.caller.user}"


async def take_lock(call: ApiCall) -> object:
    """Lock an object for whoever is logged in."""
    proxy = await proxy_of(call)
    reason = call.signed(call.body.get("reason"))
    granted = await proxy.reserve(reason, call.body.get("timeout", 0.0), _token(call))
    info = await _lock_info(proxy)
    if granted:
        call.services.proxies.note_lock(call.caller.user, call.address, proxy)
        call.services.locks.note_lock(call.caller.user, call.address, info)
        return {"lock": _told(call, info)}
    held = "somebody else" if info is None else info.describe()
    raise QMI_InvalidOperationException(f"{call.address} could not be locked: it is held by {held}")


async def release_lock(call: ApiCall) -> object:
    """Give a lock back, or take one away."""
    proxy, user, locks = await proxy_of(call), call.caller.user, call.services.locks
    if call.query.get("force"):
        reason = call.query.get("reason") or "taken over"
        former = locks.holder(call.address, await _lock_info(proxy))
        await proxy.force_unlock(call.signed(reason))
        locks.note_taken(call.address, former, user, user, call.query.get("reason", ""))
        # All users of the pages are one context, so that the next call of the former holder is told nothing.
        call.services.proxies.note_release(former, call.address)
        call.services.proxies.note_release(user, call.address)
    elif await proxy.unlock(_token(call)):
        locks.note_release(call.address)
        call.services.proxies.note_release(user, call.address)
    else:
        info = await _lock_info(proxy)
        held = "it is not locked" if info is None else f"it is held by {info.describe()}"
        raise QMI_InvalidOperationException(f"{call.address} could not be unlocked: {held}")
    return {"lock": await lock_json(call, proxy)}


async def request_lock(call: ApiCall) -> object:
    """Ask whoever holds the lock to release it: another program, or another user of the pages."""
    proxy, user, locks = await proxy_of(call), call.caller.user, call.services.locks
    reason = call.body.get("reason", "")
    info = await _lock_info(proxy)
    holder = locks.holder(call.address, info)
    if not holder:
        told = await proxy.request_release(call.signed(reason))
        elsewhere = user_elsewhere(info) if info is not None and told is not None else ""
        if info is not None and elsewhere:
            told = f"{elsewhere}, by the pages of context {info.context!r} on {info.host or 'another computer'}"
        return {"told": told, "web_user": "", "web_user_elsewhere": elsewhere, "pages": None}
    if holder == user:
        raise QMI_InvalidOperationException(f"{call.address} is locked by {user}, who asks for it: unlock it instead")
    request = locks.ask(call.address, holder, user, user, reason)
    pages = locks.pages_of(holder)
    told = f"{holder}, on {pages} open page{'' if pages == 1 else 's'}" if pages else None
    return {"told": told, "web_user": holder, "web_user_elsewhere": "", "pages": pages, "request": request.to_plain()}


async def answer_request(call: ApiCall) -> object:
    """Say that the holder has seen a request for a lock, or keeps the lock."""
    call.services.locks.answer(call.address, call.caller.user, call.body["id"], call.body["state"])
    return {"requests": [request.to_plain() for request in call.services.locks.of(call.address)]}
