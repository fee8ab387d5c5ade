"""`receive ami` and `receive esl` killed with calls under way: each ends, as it did or with a note, and none twice."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from interaction_router.channels.asterisk import Asterisk
from interaction_router.channels.calls import Line
from interaction_router.channels.freeswitch import FreeSwitch
from interaction_router.ports import Outgoing
from tests.integration.receivers import Receiver, raw_records
from tests.integration.running import Running, until, updates
from tests.integration.switchboards import AsteriskBoard, Event, FreeSwitchBoard, Switchboard
from tests.servers import Broker, RedisServer
from tests.unit.channels import switches as sw

SECRET: Final = "s3cret"
FINAL: Final = {"ended", "missed", "failed", "cancelled"}
LAST: Final = {
    "tenant": "acme", "channel": "voice", "direction": "inbound", "interaction_id": "last",
    "occurred_at": "2026-11-22T10:15:30Z", "from": "+27821234567", "to": "+27110000000",
}  # fmt: skip
DIES: Final = """
import os, signal
from interaction_router.application.delivery import Delivery
from interaction_router.receivers.kept import Kept

deliver, save, left = Delivery.deliver, Kept.save, {nth}

def passed(gap):
    global left
    left -= gap == "{gap}"
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

def saving(*arguments):
    passed("told")
    save(*arguments)

async def delivering(*arguments):
    passed("kept")
    await deliver(*arguments)
    passed("delivered")

Kept.save, Delivery.deliver = saving, delivering
"""


@dataclass(frozen=True)
class Cut:
    """A call that is heard up to one event, and again from that or a later one on, by a tenant of its own."""

    tenant: str
    session: Sequence[Event]
    until: int
    since: int


def cuts(sessions: Sequence[Sequence[Event]]) -> Iterator[Cut]:
    """What is missed of each session at each of its events: nothing, three events, all that is left."""
    for number, session in enumerate(sessions):
        for until_ in range(1, len(session) + 1):
            for missed in sorted({0, min(3, len(session) - until_), len(session) - until_}):
                yield Cut(f"t{number}-{until_}-{missed}", session, until_, until_ + missed)


KINDS: Final[dict[str, tuple[type[Switchboard], type[Asterisk | FreeSwitch], list[Cut]]]] = {
    "ami": (AsteriskBoard, Asterisk, [*cuts([sw.INBOUND, sw.CLICK_TO_CALL])]),
    "esl": (FreeSwitchBoard, FreeSwitch, [*cuts([sw.ESL_INBOUND, sw.ESL_CLICK_TO_CALL])]),
}
GAPS: Final = [("ami", None), ("ami", "told"), ("ami", "kept"), ("ami", "delivered"), ("esl", None), ("esl", "kept")]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "gap"), GAPS)
async def test_a_call_outlives_the_receiver_and_ends_once(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path, kind: str, gap: str | None
) -> None:
    """Killed once all has been heard, or in a gap between two effects, in the midst of the calls."""
    board, machine, calls = KINDS[kind]
    running = Running(
        bootstrap=broker.bootstrap, redis_url=redis_server.url, namespace=namespace, folder=tmp_path,
        TOPICS__PARTITIONS="1",
    )  # fmt: skip
    await running.apply_topics()
    async with boards(board, [([], cut.session[: cut.until]) for cut in calls], [0] * len(calls)) as ports:
        dying = receiver(running, tmp_path, kind, calls, ports, before=DIES.format(nth=len(calls) // 2, gap=gap))
        try:
            if gap is None:
                heard = sum(len(told(machine, cut.session[: cut.until])) for cut in calls)

                async def all_heard() -> bool:
                    return len(await raw_records(running, "voice")) == heard

                await until(all_heard)
                dying.kill()
            assert await asyncio.to_thread(dying.process.wait, 30) == -9
        finally:
            dying.kill()
    after = [(sw.running_after(cut.session[: cut.since]), cut.session[cut.since :]) for cut in calls]
    async with boards(board, after, ports):
        again = receiver(running, tmp_path, kind, calls, ports)
        try:
            assert await again.at() == f"switches={len(calls)}"

            async def all_ended() -> bool:
                events = await raw_records(running, "voice")
                named = {(each["tenant"], each["interaction_id"]) for each in events}
                return named == {(each["tenant"], each["interaction_id"]) for each in events if each["status"] in FINAL}

            await until(all_ended)
            assert again.stop() == 0
        finally:
            again.kill()
    events = await raw_records(running, "voice")
    for cut in calls:
        ended = [each for each in events if each["tenant"] == cut.tenant and each["status"] in FINAL]
        expected = told(machine, cut.session)[-1]
        assert {(each["interaction_id"], *sides(each)) for each in ended} <= {
            (expected["interaction_id"], *sides(expected))
        }
        assert all(each["status"] == expected["status"] or each["metadata"]["gap"] for each in ended), cut
    await each_is_one_conversation(running, events)


async def each_is_one_conversation(running: Running, events: Sequence[dict[str, Any]]) -> None:
    """Assign all of it: a conversation an interaction, an update an event, whatever was delivered twice."""
    log, worker = running.log(), running.worker()
    try:
        await worker.ready()
        await log.append("interactions.voice.v1", 0, [Outgoing(None, orjson.dumps(LAST))])

        async def assigned() -> bool:
            return any(each.get("interaction", {}).get("interaction_id") == "last" for each in await updates(log))

        await until(assigned)
        found = [each for each in await updates(log) if each["tenant"] != LAST["tenant"]]
        assert worker.stop() == 0
    finally:
        worker.kill()
        await log.stop()
    different = {(each["tenant"], each["interaction_id"], each["status"], each.get("event_id")) for each in events}
    assert Counter(
        (each["tenant"], each["interaction"]["interaction_id"]) for each in found if "interaction" in each
    ) == (Counter(each[:2] for each in different))
    opened = [each for each in found if each["type"] == "conversation.opened"]
    assert len(opened) == len({each[:2] for each in different})
    last = {each["conversation_id"]: each["interaction"]["status"] for each in found if "interaction" in each}
    assert len(last) == len(opened)
    assert set(last.values()) <= FINAL


def told(machine: type[Asterisk | FreeSwitch], session: Sequence[Event]) -> list[dict[str, Any]]:
    line = Line("acme", "any", re.compile(r"\d{2,6}"))
    hears = machine(line)
    return [fields for event in session for fields in hears.take(event, 1)]


def sides(fields: dict[str, Any]) -> tuple[object, object, object]:
    return fields["direction"], fields["from"], fields["to"]


@asynccontextmanager
async def boards(
    board: type[Switchboard], sessions: Sequence[tuple[Sequence[Event], Sequence[Event]]], ports: Sequence[int]
) -> AsyncIterator[list[int]]:
    """Serve a session at each port, any port where 0; yields the ports."""
    async with AsyncExitStack() as stack:
        served = [board([session], secret=SECRET, port=port) for session, port in zip(sessions, ports, strict=True)]
        yield [(await stack.enter_async_context(each)).port for each in served]


def receiver(
    running: Running, folder: Path, kind: str, calls: Sequence[Cut], ports: Sequence[int], *, before: str = ""
) -> Receiver:
    settings = {"RECEIVERS__STATE_DIR": str(folder / "state")}
    for cut, port in zip(calls, ports, strict=True):
        given = {"HOST": "127.0.0.1", "PORT": str(port), "SECRET": SECRET, "USERNAME": "router"}
        if kind == "esl":
            del given["USERNAME"]
        settings |= {f"TENANTS__{cut.tenant.upper()}__{kind.upper()}__{name}": value for name, value in given.items()}
    return Receiver(running, kind, folder, before=before, **settings)
