"""Drives the protocol over a socket: links, listeners, TLS, what is written and read when."""
