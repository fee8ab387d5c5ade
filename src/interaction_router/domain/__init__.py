"""Pure decisions: what a record of the internal log does to the rows. Standard library only, no I/O, no clock."""
