"""The command line: one file per noun; parse, call, print."""

from interaction_router.cli.app import main

__all__ = ["main"]
