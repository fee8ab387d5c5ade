"""Whether a worker lives, is ready and keeps up: judged on plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LaneState:
    """How far a worker is with one partition of a stage.

    `position` is where it goes on, None until it knows; `end` where the partition ended when it was last asked, None
    where nobody answers. `oldest_ms` is the stamp of the first record in hand, None for none. `busy_s` is for how long
    it has not got on with what it has.
    """

    stage: str
    stream: str
    partition: int
    started: bool
    position: int | None
    end: int | None
    oldest_ms: int | None
    idle_since_ms: int
    busy_s: float

    @property
    def lag_records(self) -> int | None:
        """Records that are there and not done, None where it is not known."""
        if self.position is None or self.end is None:
            return None
        return max(0, self.end - self.position)

    def lag_s(self, now_ms: int) -> float:
        """Return the age of the oldest record that is not done.

        Of one that is not fetched yet, it is the time since the last one was done.
        """
        since = self.oldest_ms
        if since is None and self.lag_records:
            since = self.idle_since_ms
        return 0.0 if since is None else max(0.0, (now_ms - since) / 1000)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe hears: well or not, and why not, in lines for people."""

    well: bool
    reasons: Sequence[str] = ()


def alive(*, pulse_age_s: float, busy_s: Mapping[str, float], limit_s: float) -> Verdict:
    """Judge whether the worker gets on: `busy_s` tells for how long each partition has not, `pulse_age_s` the loop."""
    reasons = []
    if pulse_age_s > limit_s:
        reasons.append(f"the event loop has stood still for {pulse_age_s:.0f} s")
    reasons += [
        f"{name} has made no progress for {seconds:.0f} s" for name, seconds in busy_s.items() if seconds > limit_s
    ]
    return Verdict(not reasons, reasons)


def prepared(*, ready: bool) -> Verdict:
    """Judge whether the worker has its partitions and has taken them over."""
    return Verdict(ready, () if ready else ("the worker has no partitions yet, or takes them over",))
