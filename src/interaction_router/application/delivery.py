"""What receivers take, onto the raw topics: acknowledged by the broker, or kept on disk until it is."""

import asyncio
import logging
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from interaction_router.application.appending import append_batches
from interaction_router.application.views import DEAD_LETTERS, Batches
from interaction_router.domain.errors import RetryableError, RouterError
from interaction_router.domain.events import Refusal
from interaction_router.domain.ids import partition_of_key
from interaction_router.domain.messages import Raw
from interaction_router.ports import Log, Outgoing, RawRecord, Spool
from interaction_router.wire.updates import unread_payload

PATIENCE_S: Final = 1.5
"""How long the broker may take before a batch goes to the spool.

A vendor waits for 5 s at most, and a record perhaps for three answers: how many partitions there are, that the batch
before it is written, and that its own is.
"""

BATCH: Final = 1_000
"""The most records that are appended, or spooled, at once for one partition."""

BATCH_BYTES: Final = 4 * 1024 * 1024
"""The most of them, in bytes, that one batch takes together."""

DRAIN_PATIENCE_S: Final = 15.0
"""How long the broker may take for a batch of the spool: nobody waits for it."""

DRAIN_EVERY_S: Final = 0.5
"""The pause before the spool is tried again."""

LETTER_BYTES: Final = 2 * 1024 * 1024
"""The most of a payload that a dead letter keeps."""

UNKNOWN: Final = -1
"""The partition of a record that was spooled before anybody knew how many its topic has."""

_LOGGER = logging.getLogger("interaction_router.delivery")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One caller's records for one partition."""

    records: Sequence[RawRecord]
    done: "asyncio.Future[None]"

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return sum(len(record.value) for record in self.records)


@dataclass(slots=True)
class _Lane:
    """One partition: who waits for it, in order, and how many of its records the spool has or is about to have."""

    stream: str
    partition: int
    waiting: list[_Waiting] = field(default_factory=list)
    worker: "asyncio.Task[None] | None" = None
    spooled: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is left that a newer record would overtake."""
        return not self.spooled and self.worker is None

    def take(self) -> list[_Waiting]:
        """Take those who have waited longest, as many as one batch holds."""
        count = records = size = 0
        for each in self.waiting:
            records += len(each.records)
            size += each.size
            if count and (records > BATCH or size > BATCH_BYTES):
                break
            count += 1
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken


class Delivery:
    """Appends raw records, in the order of their calls for each key, those of many callers in one batch a partition.

    At least once: a batch whose fate is unknown is spooled and appended again; assignment knows a repeat. While a
    partition has records in the spool, newer ones go there too, so that none overtakes another.
    """

    def __init__(self, log: Log, spool: Spool | None, *, patience_s: float = PATIENCE_S) -> None:
        """Without a spool, what the broker does not take at once is the caller's to send again."""
        self._log = log
        self._spool = spool
        self._patience_s = patience_s
        self._partitions: dict[str, int] = {}
        self._asking: dict[str, asyncio.Task[int]] = {}
        self._lanes: dict[tuple[str, int], _Lane] = {}

    async def start(self) -> None:
        """Take note of what the spool still has from before; comes before all else."""
        if self._spool is not None:
            for (stream, partition), count in (await self._spool.lanes()).items():
                self._lane(stream, partition).spooled = count

    async def run(self) -> None:
        """Drain the spool until cancelled."""
        while True:
            await self.drain()
            await asyncio.sleep(DRAIN_EVERY_S)

    async def deliver(self, records: Sequence[RawRecord]) -> None:
        """Return once the broker has all of the records, or the spool has those that the broker has not.

        A caller that is cancelled does not take its records back.

        Raises:
            RetryableError: some could not be stored anywhere; the others may have been.
        """
        if len(records) == 1:  # as most webhooks have it
            (record,) = records
            await self._enqueue(self._lane(record.stream, await self._partition(record)), records)
            return
        shares: defaultdict[int, dict[str, list[RawRecord]]] = defaultdict(dict)
        for record in records:
            partition = await self._partition(record)
            shares[partition].setdefault(record.stream, []).append(record)
        waits = [
            self._enqueue(self._lane(stream, partition), share)
            for partition, streams in shares.items()
            for stream, share in streams.items()
        ]
        for result in await asyncio.gather(*waits, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def deliver_letter(self, source: str, body: bytes, *, content_type: str | None, cause: str) -> None:
        """Store an authentic payload that nobody can read as a dead letter, as `deliver` stores records.

        `source` is `gateways/<vendor>/<tenant>`; `cause` names what is wrong and nothing of the payload.
        """
        headers: list[tuple[str, bytes]] = []
        if content_type is not None:
            headers.append(("content-type", content_type.encode("latin-1", "replace")))
        if len(body) > LETTER_BYTES:
            headers.append(("dlq_truncated", str(len(body)).encode()))
        raw = Raw(None, body[:LETTER_BYTES], tuple(headers))
        letter = unread_payload(raw, Refusal("payload_unknown", cause), source=source)
        await self.deliver([RawRecord(DEAD_LETTERS, letter.key, letter.value or b"", tuple(letter.headers))])

    async def drain(self) -> None:
        """Append what the spool has, all partitions at once, as far as the broker takes it."""
        lanes = [lane for lane in self._lanes.values() if lane.spooled]
        # While records of unknown partitions wait, newer ones of their stream wait behind them: theirs come first.
        known = {lane.stream for lane in lanes if lane.partition != UNKNOWN}
        lanes = [lane for lane in lanes if lane.partition != UNKNOWN or lane.stream not in known]
        for lane, result in zip(
            lanes, await asyncio.gather(*map(self._drain, lanes), return_exceptions=True), strict=True
        ):
            if isinstance(result, RouterError):
                extra = {"stream": lane.stream, "partition": lane.partition, "code": result.code, "left": lane.spooled}
                _LOGGER.warning("spool_waits", extra=extra)
            elif isinstance(result, BaseException):
                raise result

    @property
    def spooled(self) -> int:
        """How many records wait in the spool."""
        return sum(lane.spooled for lane in self._lanes.values())

    async def _drain(self, lane: _Lane) -> None:
        assert self._spool is not None, "only a spool makes lanes wait"
        while rows := await self._spool.oldest(lane.stream, lane.partition, limit=BATCH):
            async with _timeout(DRAIN_PATIENCE_S):
                count = await self._count(lane.stream)
                batches: Batches = defaultdict(list)
                for _, record in rows:
                    batches[_place(record, count)].append(_outgoing(record))
                await append_batches(self._log, (lane.stream, batches))
            await self._spool.remove([identity for identity, _ in rows])
            lane.spooled -= len(rows)
            _LOGGER.info("spool_drained", extra={"stream": lane.stream, "records": len(rows), "left": lane.spooled})

    def _lane(self, stream: str, partition: int) -> _Lane:
        if (stream, partition) not in self._lanes:
            self._lanes[stream, partition] = _Lane(stream, partition)
        return self._lanes[stream, partition]

    async def _partition(self, record: RawRecord) -> int:
        """Return the partition of the record's key, `UNKNOWN` while the broker has not told how many there are."""
        count = self._partitions.get(record.stream)
        if count is None:
            if self._waits(record.stream):
                return UNKNOWN
            try:
                async with _timeout(self._patience_s):
                    count = await self._count(record.stream)
            except RouterError as error:
                if self._spool is None:
                    raise _passing(error) from error
                return UNKNOWN
        return UNKNOWN if self._waits(record.stream) else _place(record, count)

    def _waits(self, stream: str) -> bool:
        """Tell whether records of the stream wait in the spool for somebody to know its partitions."""
        unknown = self._lanes.get((stream, UNKNOWN))
        return unknown is not None and not unknown.clean

    async def _count(self, stream: str) -> int:
        """Ask for the number of partitions once, however many wait for it."""
        if stream in self._partitions:
            return self._partitions[stream]
        if stream not in self._asking:
            task = asyncio.create_task(self._log.partitions(stream), name=f"partitions:{stream}")
            task.add_done_callback(_seen)  # those who asked may have given up by then
            self._asking[stream] = task
        asking = self._asking[stream]
        try:
            self._partitions[stream] = await asyncio.shield(asking)
        finally:
            if asking.done():
                self._asking.pop(stream, None)
        return self._partitions[stream]

    def _enqueue(self, lane: _Lane, records: Sequence[RawRecord]) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.waiting.append(_Waiting(records, done))
        if lane.worker is None:
            lane.worker = asyncio.create_task(self._work(lane), name=f"delivery:{lane.stream}/{lane.partition}")
        return done

    async def _work(self, lane: _Lane) -> None:
        """Store what waits, batch by batch; each caller hears of its own."""
        taken: list[_Waiting] = []
        try:
            while taken := lane.take():
                failure: BaseException | None = None
                try:
                    await self._store(lane, [record for each in taken for record in each.records])
                except RouterError as error:
                    failure = _passing(error)
                _tell(taken, failure)
        except BaseException as error:
            _tell([*taken, *lane.waiting], RetryableError("delivery_ended", "The receiver is being stopped."))
            if not isinstance(error, asyncio.CancelledError):
                raise
        finally:
            lane.worker = None

    async def _store(self, lane: _Lane, records: Sequence[RawRecord]) -> None:
        if not lane.spooled:
            try:
                await self._append(lane, records)
            except RouterError as error:
                if self._spool is None:
                    raise
                _LOGGER.warning("spooling", extra={"stream": lane.stream, "code": error.code})
            else:
                return
        assert self._spool is not None, "only a spool makes lanes wait"
        lane.spooled += len(records)
        try:
            await self._spool.add(lane.partition, records)
        except BaseException:
            lane.spooled -= len(records)
            raise

    async def _append(self, lane: _Lane, records: Sequence[RawRecord]) -> None:
        if lane.partition == UNKNOWN:
            raise RetryableError("kafka_unavailable", f"Kafka has not told yet how many partitions {lane.stream} has.")
        async with _timeout(self._patience_s):
            await self._log.append(lane.stream, lane.partition, [_outgoing(record) for record in records])


class _timeout:  # noqa: N801 - reads as asyncio.timeout does
    """As `asyncio.timeout`, but what it raises is a `RetryableError`."""

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._timeout.__aexit__(*error)  # type: ignore[arg-type]  # as it was handed over
        except TimeoutError as late:
            raise RetryableError("kafka_unavailable", "Kafka did not answer in time.") from late


def _seen(task: "asyncio.Task[int]") -> None:
    if not task.cancelled():
        task.exception()


def raw_stream(channel: str) -> str:
    """Return the raw stream of a channel."""
    return f"interactions.{channel}.v1"


def party_key(tenant: str, address: str | None) -> bytes:
    """Return the key that keeps one party's order."""
    return f"{tenant}|{address or ''}".encode(errors="replace")


def traced(headers: Mapping[str, str]) -> Iterable[tuple[str, bytes]]:
    """Return the headers of a request that its records keep."""
    trace = headers.get("traceparent")
    return [] if trace is None else [("traceparent", trace.encode("latin-1", "replace"))]


def _place(record: RawRecord, partitions: int) -> int:
    if record.key is None:
        return zlib.crc32(record.value) % partitions
    return partition_of_key(record.key, partitions)


def _outgoing(record: RawRecord) -> Outgoing:
    return Outgoing(record.key, record.value, record.headers)


def _passing(error: RouterError) -> RetryableError:
    """Return the error as one that the sender may try again: somebody will have mended it."""
    return error if isinstance(error, RetryableError) else RetryableError(error.code, error.cause, error.advice)


def _tell(waiting: Iterable[_Waiting], failure: BaseException | None) -> None:
    for each in waiting:
        if each.done.done():
            continue
        if failure is None:
            each.done.set_result(None)
        else:
            each.done.set_exception(failure)
