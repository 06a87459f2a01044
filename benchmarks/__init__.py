"""Measurements of speed, run by hand; the tests do not depend on them."""
