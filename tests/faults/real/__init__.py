"""Faults of real servers under load: what `make faults` inflicts, and what it finds afterwards."""
