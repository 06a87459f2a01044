"""Clocks: how loop tasks and virtual time wait."""
