"""`replay promote` on real servers: a subscriber goes over to another router and back, and misses nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from tests.integration.running import Worker, saved, sms, until
from tests.integration.test_redrive import Program
from tests.integration.test_replay_log import NUMBERS, PARTIES, SMS, _at_least, _pair, _settled
from tests.servers import Broker, RedisServer

GROUP = "warehouse"
POLL_MS = 500


class Subscriber:
    """Reads updates as a member of a group, and keeps the highest `seq` that it knows of each conversation."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self.seqs: dict[str, int] = {}
        self.interactions: set[str] = set()

    def consumer(self, namespace: str) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            f"{namespace}.conversations.v1",
            bootstrap_servers=self._bootstrap,
            group_id=GROUP,
            enable_auto_commit=False,
            auto_offset_reset="none",
        )

    async def begin(self, namespace: str, *, count: int) -> None:
        """Read so many updates for the first time."""
        consumer = self.consumer(namespace)
        consumer._auto_offset_reset = "earliest"
        await self._read(consumer, count=count)

    async def go_on(self, namespace: str, *, for_: str) -> None:
        """Read on from where the group is, until an interaction has come."""
        await self._read(self.consumer(namespace), for_=for_)

    async def _read(self, consumer: AIOKafkaConsumer, *, count: int | None = None, for_: str | None = None) -> None:
        read = 0
        async with consumer:

            async def enough() -> bool:
                nonlocal read
                for records in (await consumer.getmany(timeout_ms=POLL_MS, max_records=count)).values():
                    for record in records:
                        self.take(json.loads(record.value or b""))
                        read += 1
                return for_ in self.interactions if count is None else read >= count

            await until(enough)
            await consumer.commit()

    def take(self, update: dict[str, Any]) -> None:  # Any: the JSON of the contract
        conversation = update["conversation_id"]
        known = self.seqs.get(conversation, 0)
        if update["seq"] <= known:
            return
        assert update["seq"] == known + 1, f"{conversation}: {update['seq']} behind {known}"
        self.seqs[conversation] = update["seq"]
        if "interaction" in update:
            self.interactions.add(update["interaction"]["interaction_id"])


async def test_a_subscriber_goes_over_and_back_and_misses_nothing(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running, twin = _pair(broker, redis_server, namespace, tmp_path, partitions=8)
    await running.apply_topics()
    there, back = Program(running, capsys), Program(twin, capsys)
    log = running.log()
    subscriber = Subscriber(broker.bootstrap)
    workers: list[Worker] = [running.worker()]
    other = f"{namespace}b"
    promote = ("replay", "promote", "--into", other, "--subscriber", GROUP, "--json")
    try:
        await workers[0].ready()
        await log.append(SMS, 0, [sms(f"a{n}", number) for n, number in enumerate(NUMBERS)])
        await until(lambda: _at_least(log, 2 * PARTIES))
        await log.append("contacts.v1", 0, [saved(f"c{n}", number) for n, number in enumerate(NUMBERS[::2])])
        await log.append(SMS, 1, [sms(f"b{n}", number) for n, number in enumerate(NUMBERS)])
        await until(lambda: _settled(log))
        await subscriber.begin(namespace, count=PARTIES)
        assert len(subscriber.seqs) < PARTIES  # it is behind

        await _made(there, other, promote)
        early = await there(*promote, "--yes")
        assert (early.code, json.loads(early.out)["moved"]) == (1, False)

        workers.append(twin.worker())
        await workers[1].ready()
        await _take(log, there, promote, "x", NUMBERS[0])
        dry = json.loads((await there(*promote, "--verify")).out)
        assert (dry["ready"], dry["moved"]) == (True, False), dry["findings"]
        assert dry["settings"] == {"namespace": other, "inputs_namespace": namespace, "topics.partitions": 8}
        assert {each["what"] for each in dry["findings"]} >= {f"rows of {namespace}", f"rows of {other}"}
        assert dry["groups"][0]["unread"] > 0
        assert "group_unknown" in (await there("replay", "promote", "--into", other, "--subscriber", "nobody")).err
        async with subscriber.consumer(namespace):
            assert "group_in_use" in (await there(*promote, "--yes")).err

        moved = await there(*promote, "--yes")
        assert (moved.code, json.loads(moved.out)["moved"]) == (0, True), moved.err
        await subscriber.go_on(other, for_="x")
        assert workers[0].stop() == 0
        await log.append(SMS, 2, [sms("y", NUMBERS[1])])
        await subscriber.go_on(other, for_="y")

        workers.append(running.worker())
        await workers[2].ready()
        way_back = json.loads(moved.out)["way_back"].split()[1:]
        ready = [each for each in way_back if each != "--yes"]
        await _take(log, there, (*ready, "--json"), "z", NUMBERS[2])
        returned = await back(*way_back)
        assert returned.code == 0, returned.err
        await subscriber.go_on(namespace, for_="z")
        assert subscriber.interactions == {f"{story}{n}" for story in "ab" for n in range(PARTIES)} | {"x", "y", "z"}
    finally:
        for worker in workers:
            worker.kill()
        await log.stop()


async def _made(program: Program, other: str, promote: tuple[str, ...]) -> None:
    """Make the other router; before it is there, and before it is whole, nobody can go over."""
    missing = (await program(*promote, "--yes")).err
    assert ("topic_missing" in missing, "replay log" in missing) == (True, True)
    replay = ("replay", "log", "--into", other, "--partitions", "8", "--yes", "--anew")
    assert (await program(*replay, "--set", "failpoints=replay_begun=fail")).code == 69
    assert "replay_unfinished" in (await program(*promote, "--yes")).err
    assert (await program(*replay)).code == 0


async def _take(log: Any, program: Program, promote: tuple[str, ...], name: str, number: str) -> None:
    """Let a message come, and wait until the other router has it too."""
    await log.append(SMS, 2, [sms(name, number)])

    async def ready() -> bool:
        ran = await program(*promote)
        return ran.code == 0

    await until(ready, within_s=60)
