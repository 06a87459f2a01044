"""Small helpers for scripts."""
