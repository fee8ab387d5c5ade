"""`python -m tests.faults`: tell many stories and plant the defects; `... tell 61`: one story again, at its shortest."""

import argparse
import json
import sys
import time
from collections import Counter

from tests.faults.mutation import ALL, SCRIPTED, Sight, look_for
from tests.faults.telling import tell_again, tell_all

_WIDTH = 46


def main() -> int:
    """Do what is asked; return 1 where something is wrong that should not be, or is not seen that should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("all", "stories", "plants", "tell"), default="all")
    parser.add_argument("seed", nargs="?", type=int, help="of the story to tell")
    parser.add_argument("--seeds", type=int, default=1000, help="how many stories to tell")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.what == "tell":
        return _tell(options.seed)
    stories = _stories(options.seeds) if options.what in {"all", "stories"} else None
    sights = look_for(ALL) if options.what in {"all", "plants"} else []
    if options.json:
        planted = [{"plant": each.plant, "seen_by": each.seen_by, "stories": each.told} for each in sights]
        print(json.dumps({"stories": stories, "plants": planted}))
    else:
        _print(stories, sights)
    wrong = stories is not None and stories["wrong"]
    return 1 if wrong or any(each.seen_by is None for each in sights) else 0


def _tell(seed: int | None) -> int:
    if seed is None:
        print("Which one? python -m tests.faults tell 61", file=sys.stderr)
        return 2
    story, shortest = tell_again(seed)
    for name, count in sorted(story.befell.items()):
        print(f"{count:6} {name}")
    if shortest is not None:
        print(shortest)
    return 1 if story.wrong else 0


def _stories(seeds: int) -> dict[str, object]:
    started = time.monotonic()
    befell: Counter[str] = Counter()
    wrong = []
    for story in tell_all(range(seeds)):
        befell += story.befell
        if story.wrong:
            wrong.append({"seed": story.seed, "wrong": story.wrong})
    return {"told": seeds, "seconds": round(time.monotonic() - started, 1), "befell": befell, "wrong": wrong}


def _print(stories: dict[str, object] | None, sights: list[Sight]) -> None:
    if stories is not None:
        befell = stories["befell"]
        assert isinstance(befell, Counter)
        print(f"{stories['told']} stories in {stories['seconds']} s; {befell.total()} faults:")
        for name, count in sorted(befell.items()):
            print(f"  {name:{_WIDTH}} {count:8}")
        wrong = stories["wrong"]
        assert isinstance(wrong, list)
        print(f"  {'wrong after it':{_WIDTH}} {len(wrong):8}")
        for each in wrong:
            print(f"  seed {each['seed']}: python -m tests.faults tell {each['seed']}; {each['wrong'][:2]}")
    if sights:
        print(f"{len(sights)} planted defects:")
        for sight in sights:
            print(f"  {sight.plant:{_WIDTH}} {sight.seen_by or 'NOT SEEN'}")
        for name in SCRIPTED:
            print(f"  {name:{_WIDTH}} tests/faults/test_scripted_plants.py")


if __name__ == "__main__":  # the pool's processes import this module too
    sys.exit(main())
