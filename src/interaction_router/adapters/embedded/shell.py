"""Drives stages in one event loop: what Faust does for the real log, without a server."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.domain.errors import RetryableError
from interaction_router.ports import Received, Stage

logger = logging.getLogger(__name__)


class EmbeddedShell:
    """Hands every partition's records to its stage, from where it ended last time, and waits without polling.

    Delivery is at least once: the group's offset is committed behind `handle`. One object is run once.
    """

    def __init__(
        self, log: EmbeddedLog, stages: Mapping[str, Stage], *, batch: int = 1000, retry_s: float = 0.2
    ) -> None:
        """Name each stage's group; `retry_s` is the pause before a partition is tried again."""
        self._log = log
        self._stages = stages
        self._batch = batch
        self._retry_s = retry_s
        self._lanes: list[_Lane] = []
        self._stopping = asyncio.Event()
        self._rested = asyncio.Condition()

    async def run(self) -> None:
        """Run until `stop`: batches under way are finished, then each stage forgets its partitions.

        Raises:
            BaseException: the first exception of a stage that is no `RetryableError`; the other partitions are
                cancelled, since their stages share what has just failed.
        """
        for group, stage in self._stages.items():
            for stream in stage.streams:
                for partition in range(await self._log.partitions(stream)):
                    self._lanes.append(_Lane(self, self._log, stage, (group, stream, partition)))
        tasks = [asyncio.create_task(lane.run(), name=lane.name) for lane in self._lanes]
        try:
            if tasks:
                await asyncio.gather(*tasks)
            else:
                await self._stopping.wait()
        finally:
            self._stopping.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for lane in self._lanes:
                lane.forget()
            await self.rest()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()
        for lane in self._lanes:
            lane.bell.set()

    async def settled(self) -> None:
        """Wait until every stage has handled everything that is in its streams: the end of a simulated day.

        Raises:
            RuntimeError: the shell has ended; `run` says why.
        """
        async with self._rested:
            await self._rested.wait_for(lambda: self._stopping.is_set() or self._is_settled())
        if self._stopping.is_set():
            message = "the shell has ended"
            raise RuntimeError(message)

    def _is_settled(self) -> bool:
        """Tell whether every partition waits with nothing new behind it."""
        return bool(self._lanes) and all(lane.resting and not lane.bell.is_set() for lane in self._lanes)

    async def rest(self) -> None:
        """Take note that a partition has nothing to do."""
        async with self._rested:
            self._rested.notify_all()

    @property
    def stopping(self) -> bool:
        """Whether no further batch is to be begun."""
        return self._stopping.is_set()

    @property
    def batch(self) -> int:
        """How many records a stage is handed at most."""
        return self._batch

    async def pause(self) -> None:
        """Wait before a partition is tried again, no longer than until `stop`."""
        try:
            async with asyncio.timeout(self._retry_s):
                await self._stopping.wait()
        except TimeoutError:
            return


class _Lane:
    """One partition of one stage: read, hand over, commit, and wait for the next append."""

    def __init__(self, shell: EmbeddedShell, log: EmbeddedLog, stage: Stage, place: tuple[str, str, int]) -> None:
        """Keep the partition's place: group, stream, partition."""
        self._shell = shell
        self._log = log
        self._stage = stage
        self._group, self._stream, self._partition = place
        self.name = f"{self._group}:{self._stream}:{self._partition}"
        self.bell = asyncio.Event()
        self.resting = False

    async def run(self) -> None:
        """Go on from where the stage or else the group ended, until the shell stops."""
        with self._log.ringing(self._stream, self._partition, self.bell):
            position = await self._start()
            while not self._shell.stopping:
                # Cleared before the read, so that an append behind the read rings it again.
                self.bell.clear()
                records = await self._log.read(self._stream, self._partition, position, limit=self._shell.batch)
                if records:
                    position = await self._hand_over(records, position)
                    # Neither SQLite nor a stage has to give way to the other tasks: this does.
                    await asyncio.sleep(0)
                else:
                    await self._wait()

    def forget(self) -> None:
        """Tell the stage that the partition is no longer its own."""
        self._stage.forget(self._stream, self._partition)

    async def _start(self) -> int:
        """Return the offset to begin at."""
        while not self._shell.stopping:
            try:
                position = await self._stage.committed(self._stream, self._partition)
                if position is None:
                    position = await self._log.committed(self._group, self._stream, self._partition)
                if position is None:
                    position = (await self._log.bounds(self._stream, self._partition)).first
            except RetryableError as error:
                await self._retry(error)
            else:
                return position
        return 0

    async def _hand_over(self, records: Sequence[Received], position: int) -> int:
        """Return where to go on from; the same position where the batch has to be tried again."""
        try:
            following = await self._stage.handle(self._stream, self._partition, records)
            await self._log.commit(self._group, self._stream, self._partition, following)
        except RetryableError as error:
            await self._retry(error)
            return position
        return following

    async def _wait(self) -> None:
        """Sleep until something is appended or the shell stops."""
        if self._shell.stopping:
            return
        self.resting = True
        await self._shell.rest()
        await self.bell.wait()
        self.resting = False

    async def _retry(self, error: RetryableError) -> None:
        """Tell and pause."""
        logger.warning("partition_retried", extra={"lane": self.name, "code": error.code})
        await self._shell.pause()
