"""`make faults`: real faults under load, then everything is compared with the log."""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path

from tests.faults.real.run import FAULTS, MOST_S, Report, run


def main() -> int:
    """Print what was inflicted and what was found; return 1 where something was lost, twice or not equal."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.real", description=__doc__)
    parser.add_argument("--faults", type=int, default=FAULTS, help="how many to inflict")
    parser.add_argument("--seconds", type=float, default=MOST_S, help="inflict no more after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that brokers are away is what this is about
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(run(Path(folder), faults=options.faults, seconds=options.seconds, seed=options.seed))
    print(json.dumps(report.plain()) if options.json else _table(report))
    return 0 if report.holds else 1


def _table(report: Report) -> str:
    lines = [
        "seconds that a partition was without an update at most; seconds to its first one since everything ran again",
        f"{'fault':22} {'times':>5} {'p50':>7} {'p99':>7} {'p50':>9} {'p99':>7}",
    ]
    lines += [
        f"{row.kind:22} {row.times:5} {row.p50_s:7.1f} {row.p99_s:7.1f} {row.back_p50_s:9.1f} {row.back_p99_s:7.1f}"
        for row in (*report.rows, report.all)
    ]
    lines += [
        f"records written {report.written}, updates {report.updates}, repeated {report.repeated}",
        f"interactions lost {report.lost}, twice {report.twice}, other differences {report.others}",
        f"workers that ended by themselves {len(report.exits)}",
        *(f"  {each}" for each in report.exits),
        *(f"  {each}" for each in report.differences[:20]),
    ]
    return "\n".join(lines)


sys.exit(main())
