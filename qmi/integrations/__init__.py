"""Bridges to other frameworks; each module is imported where it is used."""
