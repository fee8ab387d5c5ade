"""Appends batches: one request in flight a partition, and nothing tried again behind the caller's back."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from interaction_router.adapters.kafka.client import ClientOptions
from interaction_router.adapters.kafka.failures import translated
from interaction_router.domain.errors import RetryableError, RouterError
from interaction_router.ports import Outgoing

logger = logging.getLogger(__name__)

BATCH_BYTES = 1024 * 1024
"""The most that one request holds for one partition, but for a single record that is larger."""

REQUEST_BYTES = 3 * 1024 * 1024 + 64 * 1024
"""The largest single record: what dead letters and internal topics take, and its headers."""

DELIVERY_S = 20.0
"""How long a batch may take; aiokafka itself would try an idempotent one for ever."""

RETIRE_S = 2.0
"""How long a given-up producer may take to let go."""

_NO_OFFSET = -1
_CLOSED = "kafka_closed"


class BatchProducer:
    """An idempotent producer that is replaced by a new one whenever a batch's fate is unknown.

    What holds after an append has failed, or its caller was cancelled: nothing of it is sent any more. The request that
    was already on its way may still be written for as long as the broker takes to look at it: to readers an ordinary
    late writer, which the expected offset of each outcome makes harmless. Since aiokafka cannot take back a single
    batch, what other partitions have in flight at that moment fails with it, `RetryableError`, and has the same doubt.
    """

    def __init__(self, options: ClientOptions, *, delivery_s: float = DELIVERY_S) -> None:
        self._options = options
        self._delivery_s = delivery_s
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    async def send(self, topic: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        """Send the records in as many batches as they need, each after the former's acknowledgement.

        The caller sees to it that no other call for the partition is under way.
        """
        offsets: list[int] = []
        while len(offsets) < len(records):
            producer = await self._started()
            batch = producer.create_batch()
            count = _fill(batch, records, len(offsets))
            base = await self._deliver(producer, batch, topic, partition)
            offsets.extend(range(base, base + count))
        return offsets

    async def stop(self) -> None:
        """Close the connections; what is not acknowledged by now is given up."""
        if self._producer is not None:
            self._retire(self._producer, RetryableError(_CLOSED, "The log is being closed."))
        if self._retiring:
            await asyncio.wait(self._retiring)

    async def _deliver(self, producer: AIOKafkaProducer, batch: Any, topic: str, partition: int) -> int:
        """Return the offset of the batch's first record once it is acknowledged; Any: aiokafka's builder."""
        try:
            async with asyncio.timeout(self._delivery_s):
                if partition not in (producer.client.cluster.partitions_for_topic(topic) or ()):
                    await producer.client.add_topic(topic)
                    await producer.client.force_metadata_update()
                future = await producer.send_batch(batch, topic, partition=partition)
                acknowledged = await future
        except (KafkaError, OSError, TimeoutError, AssertionError) as error:
            # Also where the broker has refused it for good: its place in the producer's sequence stays empty, and
            # everything behind it would be out of order. An AssertionError says that there is no such partition.
            failure = translated(error, f"append to {topic}/{partition}")
            self._retire(producer, failure)
            raise failure from error
        except asyncio.CancelledError:
            self._retire(producer, RetryableError("append_cancelled", "An append was given up."))
            raise
        offset = int(acknowledged.offset)
        if offset == _NO_OFFSET:
            # The broker has the batch from an earlier try and no longer knows where: written, place unknown.
            cause = f"The place of an append to {topic}/{partition} is unknown."
            raise RetryableError("append_place_unknown", cause)
        return offset

    async def _started(self) -> AIOKafkaProducer:
        """Return the producer, a new one where the last was given up."""
        if self._producer is not None and not _is_dead(self._producer):
            return self._producer
        async with self._starting:
            if self._producer is not None and not _is_dead(self._producer):
                return self._producer
            if self._producer is not None:
                self._retire(self._producer, RetryableError("kafka_unavailable", "The producer has ended."))
            producer = AIOKafkaProducer(
                **self._options,
                acks="all",
                enable_idempotence=True,
                max_batch_size=BATCH_BYTES,
                max_request_size=REQUEST_BYTES,
            )
            try:
                async with asyncio.timeout(self._delivery_s):
                    await producer.start()
            except BaseException as error:
                producer._closed = True  # noqa: SLF001 - never started: `stop` would wait for its sender
                await producer.client.close()
                if isinstance(error, (KafkaError, OSError, TimeoutError)):
                    raise translated(error, "start of a producer") from error
                raise
            self._producer = producer
            return producer

    def _retire(self, producer: AIOKafkaProducer, failure: RouterError) -> None:
        """Stop it from sending at once, fail what it holds, and close it in the background."""
        if self._producer is producer:
            self._producer = None
        elif producer._closed:  # noqa: SLF001 - another partition has given it up already
            return
        producer._closed = True  # noqa: SLF001 - `stop` would first send what is left
        sender = producer._sender.sender_task  # noqa: SLF001 - the only way to stop it without a flush
        if sender is not None:
            # Its own end would fail what is failed here, and a transaction that there is not.
            sender.remove_done_callback(producer._sender._fail_all)  # noqa: SLF001 - likewise
            sender.cancel()
        _fail_all(producer, KafkaTimeoutError(failure.cause))
        if failure.code != _CLOSED:
            logger.warning("producer_replaced", extra={"code": failure.code})
        task = asyncio.create_task(_close(producer, sender), name="producer-close")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


def _fill(batch: Any, records: Sequence[Outgoing], start: int) -> int:
    """Put records from `start` on into the batch until it is full; return how many. Any: aiokafka's builder.

    Its own `append` would look for serializers and for a close with every record, at a third of the time.
    """
    append = batch._builder.append  # noqa: SLF001 - see above
    count = 0
    for key, value, headers, timestamp_ms in records[start:] if start else records:
        if append(count, timestamp_ms, key, value, list(headers)) is None:
            break
        count += 1
    batch._relative_offset = count  # noqa: SLF001 - how many it says that it has
    batch.close()
    return count


def _is_dead(producer: AIOKafkaProducer) -> bool:
    """Tell whether its sender has ended, as it does after a fatal error such as a broken sequence."""
    sender = producer._sender.sender_task  # noqa: SLF001 - aiokafka does not tell otherwise
    return sender is None or sender.done()


def _fail_all(producer: AIOKafkaProducer, failure: KafkaError) -> None:
    """Fail what waits and what is on its way, whether anybody still listens or not."""
    held = producer._message_accumulator  # noqa: SLF001 - the only way to what `stop` would first send
    batches = [*held._pending_batches, *chain.from_iterable(held._batches.values())]  # noqa: SLF001
    held.fail_all(failure)
    for batch in batches:
        for future in (batch.future, batch._drain_waiter):  # noqa: SLF001
            if future.done() and not future.cancelled():
                future.exception()  # seen: asyncio would else complain of those that nobody awaits


async def _close(producer: AIOKafkaProducer, sender: "asyncio.Task[None] | None") -> None:
    """Close the connections, under which the sender's last requests fail, and wait for its end."""
    with contextlib.suppress(KafkaError, OSError):
        await producer.client.close()
    if sender is not None:
        await asyncio.wait({sender}, timeout=RETIRE_S)
        if sender.done() and not sender.cancelled():
            sender.exception()
