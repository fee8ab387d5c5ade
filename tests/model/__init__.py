"""An independent, naive model of the contract that the program is held against."""
