"""What two readings of one log tell subscribers, compared: conversation by conversation, byte for byte."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from interaction_router.domain.events import Outcome, Refusal
from interaction_router.wire.updates import update_records

Told = Mapping[str, list[bytes]]
"""Updates by their keys; a refusal stands with them, under the record that it is of."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A conversation, or a contact of a tenant, of which the two tell otherwise, from update number `first` on."""

    key: str
    first: int
    live: tuple[dict[str, Any], ...]  # Any: the JSON of the contract
    replayed: tuple[dict[str, Any], ...]


class Comparison:
    """Takes what both tell, record by record; what is the same there is forgotten at once."""

    def __init__(self, *, namespace: str) -> None:
        """`namespace` begins the names of topics on both sides: they are the same but for it."""
        self._namespace = namespace
        self._live: dict[str, list[bytes]] = defaultdict(list)
        self._replayed: dict[str, list[bytes]] = defaultdict(list)
        self._beyond: dict[str, list[bytes]] = defaultdict(list)
        self.updates = 0
        self.undecided = 0
        self.uncompared = 0

    def take(self, live: tuple[int, Outcome] | None, replayed: Iterable[tuple[int, Outcome]]) -> None:
        """Compare one log record's outcomes, each with its partition; `live` is None where it is not decided yet."""
        told = [self._told(*each) for each in replayed]
        again = _joined(told)
        if live is None:
            self.undecided += 1
            _extend(self._beyond, again)
            return
        before = self._told(*live)
        self.updates += sum(map(len, before.values()))
        if before != again:
            _extend(self._live, before)
            _extend(self._replayed, again)

    def beyond(self, partition: int, outcome: Outcome) -> None:
        """Take what only the replayed reading has got to yet."""
        _extend(self._beyond, self._told(partition, outcome))

    def differences(self) -> list[Difference]:
        """Return what differs; that one of the two has got further is no difference."""
        found = []
        for key in sorted(self._live.keys() | self._replayed.keys()):
            live, replayed = self._live.get(key, []), self._replayed.get(key, [])
            further = [*replayed, *self._beyond.get(key, [])]
            if live == further[: len(live)] and len(replayed) <= len(live):
                continue
            first = next(
                (at for at, pair in enumerate(zip(live, further, strict=False)) if pair[0] != pair[1]),
                min(len(live), len(further)),
            )
            shown = tuple(tuple(map(orjson.loads, each[first:])) for each in (live, further))
            found.append(Difference(key, first, *shown))
        return found

    def _told(self, partition: int, outcome: Outcome) -> dict[str, list[bytes]]:
        told: dict[str, list[bytes]] = defaultdict(list)
        for update in update_records(outcome, partition=partition, namespace=self._namespace):
            told[update.key.decode()].append(update.value)
        refusal = outcome.decision.refusal
        if refusal is not None and outcome.cause is not None:
            place = f"{self._namespace}.{outcome.cause.stream}/{outcome.cause.partition}@{outcome.cause.offset}"
            told[place].append(_refusal(refusal))
        return told


def _refusal(refusal: Refusal) -> bytes:
    return orjson.dumps({"type": "dead_letter", "code": refusal.code, "message": refusal.message})


def _joined(told: list[dict[str, list[bytes]]]) -> dict[str, list[bytes]]:
    if len(told) == 1:
        return told[0]
    joined: dict[str, list[bytes]] = defaultdict(list)
    for each in told:
        _extend(joined, each)
    return joined


def _extend(into: dict[str, list[bytes]], told: Told) -> None:
    for key, values in told.items():
        into[key] += values


class LooseComparison:
    """Compares what two routers tell of the same raw records, whatever each has of its own.

    The log time is each one's own, and so is where a timer stands; ids, numbers, rules and interactions are not.
    """

    def __init__(self, *, namespace: str, inputs: str | None) -> None:
        """`namespace` and `inputs` begin the names of topics, on both sides."""
        self._namespace = namespace
        self._inputs = inputs
        self._live: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self._replayed: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self.updates = 0
        self.undecided = 0
        self.uncompared = 0

    def live(self, partition: int, outcome: Outcome) -> None:
        """Take what one router has told."""
        self.updates += self._take(self._live, partition, outcome)

    def replayed(self, partition: int, outcome: Outcome) -> None:
        """Take what the other has."""
        self._take(self._replayed, partition, outcome)

    def _take(self, into: dict[str, list[tuple[int, bytes]]], partition: int, outcome: Outcome) -> int:
        told = update_records(outcome, partition=partition, namespace=self._namespace, inputs=self._inputs)
        for update in told:
            fields = orjson.loads(update.value)
            del fields["at"]
            if fields["cause"]["topic"].startswith(f"{self._namespace}.internal."):
                fields["cause"] = {"rule": fields["cause"]["rule"]}
            into[update.key.decode()].append((fields.get("seq", 0), orjson.dumps(fields)))
        return len(told)

    def differences(self) -> list[Difference]:
        """Return what differs; where something is undecided, that the replay has got further is no difference."""
        found = []
        for key in sorted(self._live.keys() | self._replayed.keys()):
            live, replayed = ([each for _, each in sorted(side.get(key, []))] for side in (self._live, self._replayed))
            if live == replayed or (self.undecided and live == replayed[: len(live)]):
                continue
            first = next((at for at, pair in enumerate(zip(live, replayed, strict=False)) if pair[0] != pair[1]), None)
            at = min(len(live), len(replayed)) if first is None else first
            shown = tuple(tuple(map(orjson.loads, each[at:])) for each in (live, replayed))
            found.append(Difference(key, at, *shown))
        return found
