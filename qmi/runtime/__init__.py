"""Threads and the event loop: waking, Ctrl-C, the watchdog, logging. Knows nothing of actors."""
