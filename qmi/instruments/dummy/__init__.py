"""Simulated instruments, for trying things out and for tests."""
