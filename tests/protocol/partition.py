"""One partition, step by step: two workers that sleep, die and wake late, its outcomes, its tables and a rebuild.

Record `o` of the log appends `o` to a row, so that what a row holds tells all that was done to it; the second entry of a
row is told to another home. What an outcome should be is therefore known beforehand. The outcome of `LARGE` stands in two
records, each a request of its own. The state topic is not in it.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

ROWS = "AAB"
LARGE = 1
_FENCE = -1
_BATCHES = (1, 2)
Rows: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]


class Record(NamedTuple):
    """A record of the outcomes."""

    o: int
    value: tuple[int, ...]
    expected: int
    done: int
    part: int = 0
    of: int = 1


class Tables(NamedTuple):
    """The rows, with the log record and the outcome that they are folded up to."""

    applied: int = -1
    outcome: int = -1
    rows: Rows = ()


class Worker(NamedTuple):
    """What a worker is about to do, and what it knows; `batch` is what it has decided, `asked` of it is written."""

    next: str = "idle"
    tables: Tables = Tables()
    expected: int = 0
    done: int = -1
    cache: Rows = ()
    batch: tuple[Record, ...] = ()
    asked: int = 0
    displaced: bool = False


class State(NamedTuple):
    """All that there is, and how often there may still be a takeover, a fault, a rollback and a rebuild."""

    outcomes: tuple[Record, ...] = ()
    told: tuple[int, ...] = ()
    sent: tuple[int, ...] = ()
    tables: Tables = Tables()
    suspended: bool = False
    shadow: Tables | None = None
    workers: tuple[Worker, ...] = (Worker(), Worker())
    rebuild: str = "look"
    takeovers: int = 2
    faults: int = 0
    rollbacks: int = 0
    rebuilds: int = 0


Step: TypeAlias = tuple[str, State, str | None]


def value_of(o: int) -> tuple[int, ...]:
    """Return the row of the record as it leaves it."""
    return tuple(each for each in range(o + 1) if ROWS[each] == ROWS[o])


def _is_sent(o: int) -> bool:
    return len(value_of(o)) == 2


def put(rows: Rows, record: Record) -> Rows:
    """Return the rows with the record's."""
    return tuple(sorted({**dict(rows), ROWS[record.o]: record.value}.items()))


class Partition:
    """The partition, as `Model`; `plants` are defects in it."""

    def __init__(self, start: State, *, plants: frozenset[str] = frozenset()) -> None:
        self._start = start
        self._plants = plants

    def start(self) -> State:
        """Return the state before anything was decided."""
        return self._start

    def tell(self, label: str) -> str:
        """Return the label."""
        return label

    def counted(self, outcomes: Sequence[Record], tables: Tables, end: int) -> list[tuple[Record, int]]:
        """Return the outcomes that count behind the tables, each with the offset of its last record."""
        found: list[tuple[Record, int]] = []
        last, begun = tables.applied, -1
        for at in range(tables.outcome + 1, end):
            record = outcomes[at]
            if record.part == 0:
                begun = at
            elif begun < 0 or begun + record.part != at or not self._one_writer(outcomes[begun], record):
                begun = -1
            if begun < 0 or record.part + 1 < record.of:
                continue
            first = outcomes[begun]
            stands = first.expected == begun or "expected ignored" in self._plants
            if stands and first.o == last + 1:
                last = first.o
                found.append((first, at))
            begun = -1
        return found

    def _one_writer(self, first: Record, other: Record) -> bool:
        return first.expected == other.expected or "parts of any writer" in self._plants

    def done(self, outcomes: Sequence[Record]) -> int:
        """Return what the writers of the outcomes knew to be told."""
        if "done too soon" in self._plants:
            return max((each.o for each in outcomes), default=-1)
        return max((each.done for each in outcomes if each.of == 1), default=-1)

    def folded(self, outcomes: Sequence[Record], tables: Tables, up_to: int) -> Tables:
        """Return the tables as they are behind what counts up to a log record."""
        for record, at in self.counted(outcomes, tables, len(outcomes)):
            if record.o <= up_to:
                tables = Tables(record.o, at, put(tables.rows, record))
        return tables

    def steps(self, state: State) -> Iterator[Step]:
        """Yield what the workers, the rebuild and Redis may do."""
        for number, worker in enumerate(state.workers):
            if (
                state.takeovers
                and worker.next in {"idle", "over", "decide"}
                and (number == 0 or state.workers[0].next != "idle")
            ):
                begun = state._replace(takeovers=state.takeovers - 1)
                yield f"W{number} takes over", _with(number, begun, Worker("read the tables")), None
            for name, after, wrong in self._worker(state, worker, partial(_with, number)):
                yield f"W{number} {name}", after, wrong
        if state.rebuilds:
            yield from self._rebuild(state)
        if state.rollbacks:
            for applied in range(-1, state.tables.applied):
                older = self.folded(state.outcomes, Tables(), applied)
                lost = state._replace(tables=older, suspended=False, shadow=None, rollbacks=state.rollbacks - 1)
                yield f"Redis goes back from {state.tables.applied} to {applied}", lost, None

    def _worker(self, state: State, worker: Worker, then: Callable[[State, Worker], State]) -> Iterator[Step]:
        over = Worker("over")
        tables, moved = state.tables, state.suspended or state.tables.applied != worker.tables.applied
        match worker.next:
            case "read the tables":
                after = over if state.suspended else Worker("read the end", tables)
                yield worker.next, then(state, after), None
            case "read the end":
                end, done = len(state.outcomes), self.done(state.outcomes)
                ahead = "the tables are ahead" if worker.tables.outcome >= end else None
                yield worker.next, then(state, worker._replace(next="tell again", expected=end, done=done)), ahead
            case "tell again" | "send again":
                again = [each.o for each, _ in self.counted(state.outcomes, worker.tables, worker.expected)]
                again = [o for o in again if o > worker.done]
                is_telling = worker.next == "tell again"
                heard, wrong = (_told if is_telling else _sent)(state, again)
                yield worker.next, then(heard, worker._replace(next="send again" if is_telling else "fold")), wrong
            case "fold":
                outcomes = state.outcomes[: worker.expected]
                fold = self.folded(outcomes, worker.tables, len(ROWS))
                after = worker._replace(next="look again", tables=fold)
                yield worker.next, then(state, over) if moved else then(state._replace(tables=fold), after), None
            case "look again":
                yield worker.next, then(state, worker._replace(next="read the tables" if moved else "decide")), None
            case "decide":
                yield from self._decide(state, worker, then)
            case "write":
                yield from self._write(state, worker, then)
            case "tell" | "send":
                is_telling = worker.next == "tell"
                os = [each.o for each in worker.batch if each.part == 0]
                heard, wrong = (_told if is_telling else _sent)(state, os)
                yield worker.next, then(heard, worker._replace(next="send" if is_telling else "apply")), wrong
            case "apply":
                if moved:
                    yield "is refused by the tables", then(state, over), None
                    return
                last = worker.batch[-1]
                applied = Tables(last.o, worker.expected - 1, tables.rows)
                for each in worker.batch:
                    applied = applied._replace(rows=put(applied.rows, each))
                rested = worker._replace(next="decide", tables=applied, batch=(), asked=0)
                yield "applies", then(state._replace(tables=applied), rested), None
                yield (
                    "applies and forgets its rows",
                    then(state._replace(tables=applied), rested._replace(cache=())),
                    None,
                )
            case _:
                return  # idle or over: it waits for its next takeover

    def _decide(self, state: State, worker: Worker, then: Callable[[State, Worker], State]) -> Iterator[Step]:
        first = worker.tables.applied + 1
        for count in _BATCHES:
            if first + count > len(ROWS):
                return
            cache = dict(worker.cache)
            unknown = {ROWS[o] for o in range(first, first + count)} - set(cache)
            moved = state.suspended or state.tables.applied != worker.tables.applied
            if unknown and moved and "rows without applied" not in self._plants:
                yield "is refused rows", then(state, Worker("over")), None
                return
            cache |= {row: dict(state.tables.rows).get(row, ()) for row in unknown}
            batch: list[Record] = []
            for o in range(first, first + count):
                cache[ROWS[o]] = (*cache[ROWS[o]], o)
                of = 2 if o == LARGE else 1
                at = worker.expected + len(batch)
                batch += [Record(o, cache[ROWS[o]], at, worker.tables.applied, part, of) for part in range(of)]
            after = worker._replace(next="write", batch=tuple(batch), cache=tuple(sorted(cache.items())), asked=0)
            yield f"decides {first} to {first + count - 1}", then(state, after), None

    def _write(self, state: State, worker: Worker, then: Callable[[State, Worker], State]) -> Iterator[Step]:
        """One request after the other: those before a large outcome together, and each of its parts."""
        rest = worker.batch[worker.asked :]
        size = 1 if rest[0].of > 1 else sum(each.of == 1 for each in rest)
        displaced = worker.displaced or len(state.outcomes) != worker.expected + worker.asked
        written = state._replace(outcomes=(*state.outcomes, *rest[:size]))
        asked = worker.asked + size
        after = worker._replace(asked=asked, displaced=displaced)
        if asked == len(worker.batch):
            expected = worker.expected + len(worker.batch)
            ignored = "expected ignored" in self._plants
            after = after._replace(next="tell", expected=expected) if ignored or not displaced else Worker("over")
        yield f"writes {size} of {len(rest)}", then(written, after), None
        if state.faults:
            failed = state._replace(faults=state.faults - 1)
            for kept in range(size + 1):
                torn = failed._replace(outcomes=(*state.outcomes, *rest[:kept]))
                yield f"writes {kept} of {len(rest)}, and hears of an error", then(torn, Worker("over")), None

    def _rebuild(self, state: State) -> Iterator[Step]:
        """What `state rebuild` does; another takes the partition over behind it."""
        done, shadow = self.done(state.outcomes), state.shadow or Tables()
        match state.rebuild:
            case "look":
                up_to = max(state.tables.applied, done)
                if "rebuilt beyond what is told" in self._plants:
                    up_to = len(ROWS)
                folded = self.folded(state.outcomes, shadow, up_to)
                yield "the rebuild folds", state._replace(shadow=folded, rebuild="suspend"), None
            case "suspend":
                yield "the rebuild suspends", state._replace(suspended=True, rebuild="fence"), None
            case "fence":
                fence = Record(_FENCE, (), _FENCE, -1)
                fenced = () if "no fence" in self._plants else (fence,)
                yield (
                    "the rebuild fences",
                    state._replace(outcomes=(*state.outcomes, *fenced), rebuild="catch up"),
                    None,
                )
            case "catch up":
                folded = self.folded(state.outcomes, shadow, max(done, shadow.applied))
                yield "the rebuild catches up", state._replace(shadow=folded, rebuild="flip"), None
            case _:
                over = state._replace(rebuild="look", rebuilds=state.rebuilds - 1, shadow=None)
                if state.suspended:
                    yield "the rebuild flips", over._replace(tables=shadow, suspended=False), None
                else:
                    yield "the rebuild is refused the flip", over, None

    def wrong(self, state: State, way: Callable[[], list[str]]) -> str | None:
        """See that what counts is right, that the tables are its fold, and that a new owner would miss nothing."""
        del way
        counted = self.counted(state.outcomes, Tables(), len(state.outcomes))
        for number, (record, at) in enumerate(counted):
            if record.o != number or record.value != value_of(record.o):
                return f"the outcome of {record.o} that counts is {record.value}"
            if {each.expected for each in state.outcomes[at - record.of + 1 : at + 1]} != {record.expected}:
                return f"the outcome of {record.o} that counts is made of two writers' parts"
        if state.tables != self.folded(state.outcomes, Tables(), state.tables.applied):
            return f"the tables are {state.tables}, which is not what counts"
        tables = state.tables
        if state.suspended:
            tables = self.folded(state.outcomes, Tables(), self.done(state.outcomes))
        done = self.done(state.outcomes)
        again = {each.o for each, _ in self.counted(state.outcomes, tables, len(state.outcomes)) if each.o > done}
        untold = {each.o for each, _ in counted} - {*state.told} - again
        unsent = {each.o for each, _ in counted if _is_sent(each.o)} - {*state.sent} - again
        if untold or unsent:
            return f"a new owner would not tell {sorted(untold)} and not send {sorted(unsent)}"
        return None


def _with(number: int, state: State, worker: Worker) -> State:
    return state._replace(workers=(*state.workers[:number], worker, *state.workers[number + 1 :]))


def _told(state: State, os: Sequence[int]) -> tuple[State, str | None]:
    """Tell subscribers, who drop what they know; a gap in a row's is a gap in its `seq`."""
    told = list(state.told)
    for o in os:
        if any(each not in told for each in value_of(o)[:-1]):
            return state, f"{o} is told before what was before it"
        told += [] if o in told else [o]
    return state._replace(told=tuple(sorted(told))), None


def _sent(state: State, os: Sequence[int]) -> tuple[State, str | None]:
    """Send to another home, which drops what it knows, and tells of it at once."""
    sent = list(state.sent)
    for o in (each for each in os if _is_sent(each)):
        if o not in state.told:
            return state, f"{o} is sent before it is told"
        sent += [] if o in sent else [o]
    return state._replace(sent=tuple(sorted(sent))), None


BESIDE = {
    "two owners, one error": State(takeovers=3, faults=1),
    "two owners, Redis goes back": State(takeovers=3, rollbacks=1),
    "two owners, a rebuild": State(takeovers=2, rebuilds=1),
    "two owners, an error, Redis goes back": State(takeovers=2, faults=1, rollbacks=1),
    "two owners, a rebuild, Redis goes back": State(takeovers=2, rollbacks=1, rebuilds=1),
    "two owners, a rebuild, two errors, Redis goes back": State(takeovers=3, faults=2, rollbacks=1, rebuilds=1),
}
"""What is explored of a partition."""
