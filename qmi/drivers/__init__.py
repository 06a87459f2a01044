"""Drivers from elsewhere: where they are looked for, how they are imported, and how they are fetched."""
