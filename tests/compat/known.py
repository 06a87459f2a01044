"""Tests of QMI 0.54.2's drivers that do not pass here, each with its reason."""

from __future__ import annotations

_TEXT = "compares the text of an error, which is another one here; the class of the error is the same"
_NOISE = "tests.instruments.dummy.test_noisy_sine_generator.TestNsgFunctions"
_WLM = "tests.instruments.high_finesse.test_wlm.TestHighFinesse_Wlm"

KNOWN: dict[str, str] = {
    f"{_NOISE}.test_max_noise_not_modifiable": _TEXT,
    f"{_NOISE}.test_max_noise_in_proxy_docstring": "looks for constants in proxy.__doc__; here help(proxy) lists them",
    f"{_WLM}.test_open_error": _TEXT,
    f"{_WLM}.test_close_error": _TEXT,
}

# They pass, but not on a very busy machine.
BUSY: dict[str, str] = {
    "tests.instruments.picoquant.test_hydraharp_event_processing.TestHydraHarpEventFilter.test_pending_events_limit": (
        "the machine was too busy: the test does not wait until the driver has seen the events"
    ),
}
