"""This library beside upstream QMI when something breaks."""
