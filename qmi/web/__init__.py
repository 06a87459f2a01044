"""The laboratory in a browser: pages, an HTTP API and metrics, served by a program of its own.

The server is a client of the contexts that it shows. In their programs it asks ``$context`` alone, subscribes to
signals, and calls what somebody asks for.
"""
