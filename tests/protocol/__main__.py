"""`python -m tests.protocol`: explore every order of arrival between the homes, and of steps in a partition."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from tests.protocol.explore import Explored, Model, explore
from tests.protocol.homes import Homes, in_parts
from tests.protocol.partition import BESIDE, Partition
from tests.protocol.scenarios import FAMILIES

_MOST_STATES = 3_000_000
_PARTITION = "one partition"
_PLACEMENTS: dict[str, int | None] = {"apart": None, "together": 1, "two": 2}


def main() -> int:
    """Do what is asked; return 1 where there is a hole."""
    parser = argparse.ArgumentParser(prog="python -m tests.protocol", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="for one scenario")
    parser.add_argument("--family", choices=(*FAMILIES, _PARTITION), action="append", help="only these")
    parser.add_argument(
        "--homes", choices=tuple(_PLACEMENTS), default="apart", help="a partition each, all in one, in two"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a scenario")
    options = parser.parse_args()
    found: list[Explored] = []
    for name, model in _models(options.family or (*FAMILIES, _PARTITION), _PLACEMENTS[options.homes]):
        with in_parts() if name.startswith("large") else nullcontext():
            found.append(explore(model, most_states=_MOST_STATES, seconds=options.seconds))
        _print(name, found[-1], as_json=options.json)
    whole = sum(each.whole for each in found)
    print(
        f"{sum(each.states for each in found)} states of {len(found)} scenarios, {whole} of them whole", file=sys.stderr
    )
    return 1 if any(each.hole for each in found) else 0


def _models(families: Iterable[str], homes: int | None) -> Iterator[tuple[str, Model[Any, Any]]]:
    for family in families:
        if family == _PARTITION:
            yield from ((f"{family}: {name}", Partition(start)) for name, start in BESIDE.items())
        else:
            for scenario in FAMILIES[family]:
                yield f"{family}: {scenario.name}", Homes(scenario, partitions=homes)


def _print(name: str, found: Explored, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"scenario": name, **asdict(found)}), flush=True)
        return
    print(
        f"{name:90} {found.states:8} states, depth {found.depth:2}, {found.seconds:5.1f} s, {found.verdict}", flush=True
    )
    for number, line in enumerate(found.hole or (), 1):
        print(f"  {number:2}. {line}")


if __name__ == "__main__":
    sys.exit(main())
