"""Assigns interactions of every channel to the conversations of their contacts."""

__version__ = "0.1.0"
