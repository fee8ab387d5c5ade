"""Check a router at rest: `python -m tests.checker --namespace router`, with its settings in file or environment."""

import asyncio
import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from interaction_router.bootstrap.storage import opened
from interaction_router.bootstrap.terms import intake_settings
from interaction_router.settings import Settings, load_settings
from tests.checker import Difference, check


async def differences(settings: Settings) -> Sequence[Difference]:
    """Return what is wrong with the router that the settings name."""
    async with opened(settings) as (log, tables):
        return await check(log, tables, intake_settings(settings))


def main() -> int:
    """Print each difference; return 1 where there are any."""
    parser = ArgumentParser(prog="python -m tests.checker", description=__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--namespace")
    given = parser.parse_args()
    flags = {} if given.namespace is None else {"namespace": given.namespace}
    found = asyncio.run(differences(load_settings(os.environ, given.config, flags)))
    for each in found:
        print(each)
    return 1 if found else 0


sys.exit(main())
