"""The two stages, intake and assignment, and what is made of their outcomes: on the domain and the ports only."""
