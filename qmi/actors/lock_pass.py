"""Locks that this program was handed by the one that has started it, as ``qmi lock lab.psu -- COMMAND`` does.

They stand in an environment variable: ``lab.psu=pass:3f...``, several with spaces between. A proxy of such an object
shows the pass from its beginning, so that programs need not know of it. The lock is held by the program that has taken
it, and goes with it; whoever was handed a pass cannot give the lock back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from qmi.messages import PASS, Token
from qmi.names import Address, is_valid_name
from qmi.runtime.random_bytes import random_bytes

VARIABLE: Final = "QMI_LOCK_PASSES"


def new_pass() -> Token:
    """A token that is to be handed on."""
    return Token(PASS + random_bytes(16).hex())


def passes_in(text: str) -> dict[Address, Token]:
    """The passes that the variable has; what is none is left out."""
    found: dict[Address, Token] = {}
    for entry in text.split():
        address, _, secret = entry.partition("=")
        context, _, name = address.partition(".")
        token = Token(secret)
        if is_valid_name(context) and is_valid_name(name) and token.is_pass:
            found[Address(context, name)] = token
    return found


def environment_with(environment: Mapping[str, str], address: Address, token: Token) -> dict[str, str]:
    """The environment of a program that is handed a pass, besides those that this one was handed."""
    passes = {**passes_in(environment.get(VARIABLE, "")), address: token}
    text = " ".join(f"{where}={each.secret}" for where, each in passes.items())
    return {**environment, VARIABLE: text}


def environment_without(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that goes on when this one has ended, and is handed no lock."""
    return {name: value for name, value in environment.items() if name != VARIABLE}


PASSES: Final[dict[Address, Token]] = passes_in(os.environ.get(VARIABLE, ""))
"""Those of this program."""
