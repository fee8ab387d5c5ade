"""Runs the command line with `python -m interaction_router`."""

from interaction_router.cli import main

if __name__ == "__main__":
    main()
