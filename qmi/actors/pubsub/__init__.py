"""Signals within one context: publishing, the broker, receivers."""
