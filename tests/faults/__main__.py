"""Tell the story of one seed again: `python -m tests.faults 61`."""

import asyncio
import sys

from tests.faults.simulator import Simulation


def main() -> int:
    """Print what befell the workers, and what is wrong after it."""
    simulation = Simulation(int(sys.argv[1]))
    differences = asyncio.run(simulation.run())
    for name, count in sorted(simulation.befell.items()):
        print(f"{count:6} {name}")
    for each in (*simulation.fatal, *differences):
        print(each)
    return 1 if differences or simulation.fatal else 0


sys.exit(main())
