"""Drivers that come with the library."""
