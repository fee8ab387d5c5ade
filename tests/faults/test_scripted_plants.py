"""Holes of the protocol that stories do not happen upon, each as a script: it fails where the defect is planted."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import orjson
import pytest

from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.application import rebuilding, takeover
from interaction_router.application.assignment import Ownership
from interaction_router.application.queries import ALL_TIME
from interaction_router.application.rebuilding import Rebuilder
from interaction_router.application.snapshots import Snapshots
from interaction_router.application.snapshotting import take_snapshot
from interaction_router.application.stages import AssignmentStage
from interaction_router.application.views import LOG, UPDATES, Views, read_head
from interaction_router.bootstrap.state import scratch
from interaction_router.domain import contacts, endpoints, events
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.ids import Entity
from interaction_router.domain.interactions import Interaction, Status
from interaction_router.domain.messages import ContactDeleted, ContactSaved, ConversationReturned, InteractionEvent
from interaction_router.domain.rows import Policy
from interaction_router.ports import Outgoing
from interaction_router.wire.codec import decode_log_record
from tests.e2e.embedded import saved, sms
from tests.faults.bench import Bench
from tests.faults.plants import _order
from tests.faults.plants_restoring import a_snapshot_goes_beside_rows, rows_of_an_older_snapshot_stay
from tests.faults.simulator import PARTITIONS, SETTINGS
from tests.unit.test_rebuilding import ANN
from tests.unit.test_rebuilding import bench as rebuilt_bench
from tests.unit.world import START_MS, World

PHONE, OTHER = "+27821234567", "+27829999999"
ENDPOINT = Entity("acme", "endpoint", f"tel:{PHONE}")
_SMS = {"tenant": "acme", "channel": "sms", "direction": "inbound", "to": "+27110000000"}


async def _handed_over_before_told(patch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    """Merge contacts that both have an open conversation: one is closed and given back by one record.

    Return how many conversations were handed over, and which of them before all of their updates were there.
    """
    append = EmbeddedLog.append
    early: list[str] = []
    handed = 0

    async def watched(self: EmbeddedLog, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        nonlocal handed
        for record in records if stream == LOG else ():
            message = decode_log_record(record.value or b"", record.headers, arrived_ms=0).message
            for each in message.carried if isinstance(message, ConversationReturned) else ():
                handed += 1
                updates = [update for at in range(PARTITIONS) for update in await self.read(UPDATES, at, 0)]
                told = [orjson.loads(update.value or b"{}") for update in updates]
                row = each.conversation
                if (row.conversation_id, row.seq) not in {(one.get("conversation_id"), one.get("seq")) for one in told}:
                    early.append(row.conversation_id)
        return await append(self, stream, partition, records)

    patch.setattr(EmbeddedLog, "append", watched)
    async with Bench.opened(SETTINGS) as bench:
        for number, contact in ((PHONE, "c1"), (OTHER, "c2")):
            saved = {"tenant": "acme", "type": "contact.saved", "contact_id": contact, "addresses": [number]}
            sms = {**_SMS, "interaction_id": contact, "from": number, "occurred_at": "2026-09-21T10:00:00Z"}
            for stream, fields in (("contacts.v1", saved), ("interactions.sms.v1", sms)):
                await bench.log.append(stream, 0, [Outgoing(None, orjson.dumps(fields))])
                await bench.settle()
        merged = {"tenant": "acme", "type": "contact.merged", "contact_id": "c2", "into": "c1"}
        await bench.log.append("contacts.v1", 0, [Outgoing(None, orjson.dumps(merged))])
        await bench.settle()
    return handed, early


@pytest.mark.parametrize("planted", [False, True])
def test_h2_what_is_handed_over_was_told_before(monkeypatch: pytest.MonkeyPatch, *, planted: bool) -> None:
    """Else the taker's updates, of a higher seq, come first, and a subscriber drops those of before."""
    if planted:
        monkeypatch.setattr(Ownership, "_bring_about", _order("outcomes", "sends", "updates", "tables"))
    handed, early = asyncio.run(_handed_over_before_told(monkeypatch))
    assert handed == 1
    assert bool(early) is planted


def _call(world: World, status: Status, to: Entity) -> None:
    what = Interaction("call", "voice", "inbound", status, START_MS, PHONE, (), None, (), {})
    world.tell(to, InteractionEvent(ENDPOINT.key, None, what))


@pytest.mark.parametrize("planted", [False, True])
def test_h4_the_index_goes_with_the_ownership(monkeypatch: pytest.MonkeyPatch, *, planted: bool) -> None:
    """A call that rings, whose contact is deleted, whose number is another's by then, and that ends, is one."""
    if planted:
        for module in (contacts, endpoints):
            monkeypatch.setattr(module, "index_parts", lambda _: [{}])
    world = World()
    for contact in ("c1", "c2"):
        to = Entity("acme", "contact", contact)
        world.tell(to, ContactSaved(contact, "Ann", (ENDPOINT.key,)), stream="contacts.v1")
        if contact == "c1":
            _call(world, "ringing", to)
            world.tell(to, ContactDeleted(contact), stream="contacts.v1")
    _call(world, "answered", ENDPOINT)
    _call(world, "ended", Entity("acme", "contact", "c2"))
    assert (len(world.events(events.Opened)) > 1) is planted


async def _taken_over_with_another_log() -> str | None:
    """Take tables over that were made from another internal log; return the code of the refusal."""
    async with Bench.opened(SETTINGS) as bench:
        sms = {**_SMS, "interaction_id": "i1", "from": PHONE, "occurred_at": "2026-09-21T10:00:00Z"}
        await bench.log.append("interactions.sms.v1", 0, [Outgoing(None, orjson.dumps(sms))])
        await bench.settle()
        anew = Views(namespace="router", partitions=PARTITIONS, lineage="made/anew")
        stage = AssignmentStage(bench.log, bench.tables, bench.clock, anew, policy=Policy(), cache_rows=100)
        try:
            for partition in range(PARTITIONS):
                await stage.committed(LOG, partition)
        except FatalError as error:
            return error.code
    return None


@pytest.mark.parametrize("planted", [False, True])
def test_tables_of_another_log_are_not_gone_on_with(monkeypatch: pytest.MonkeyPatch, *, planted: bool) -> None:
    """Offsets of another log say nothing about this one."""
    if planted:
        monkeypatch.setattr(takeover, "read_head", lambda fields: (*read_head(fields)[:2], None))
    code = asyncio.run(_taken_over_with_another_log())
    assert (code != "tables_of_another_log") is planted


async def _row_before_the_flip() -> bytes | None:
    """Rebuild a partition that has lost everything; return a row as workers find it when all but the flip is done."""
    found: list[bytes | None] = []
    async with rebuilt_bench() as at:
        await at.feed(saved("c1", PHONE))
        at.shell.stop()
        await at.tables.clear(at.home)

        class Watched:
            """Looks before it flips."""

            async def suspend(self, partition: int, *, shadow_applied: int) -> None:
                found.extend(await at.tables.peek([(partition, ANN)]))
                await at.upkeep.suspend(partition, shadow_applied=shadow_applied)

            async def flip(self, partition: int) -> None:
                await at.upkeep.flip(partition)

        watched = Watched()
        rebuilder = Rebuilder(at.log, at.tables, watched, lineage=at.views.lineage)  # type: ignore[arg-type]
        with suppress(FatalError, RetryableError):
            await rebuilder.rebuild(at.home)
    return found[0] if found else b"nothing was looked at"


@pytest.mark.parametrize("planted", [False, True])
def test_rows_are_not_there_before_the_flip(monkeypatch: pytest.MonkeyPatch, *, planted: bool) -> None:
    """Else an owner goes on with rows of a fold that is under way."""
    if planted:
        monkeypatch.setattr(rebuilding, "shadow_of", lambda partition: partition)
    row = asyncio.run(_row_before_the_flip())
    assert (row is not None) is planted


async def _kinds_behind_a_late_restore() -> list[str]:
    """Restore a partition that was empty when somebody looked, and is not any more; return what is wrong with it."""
    async with rebuilt_bench() as at:
        await at.feed(saved("c1", PHONE))
        at.assignment.forget(LOG, at.home)
        snapshots = Snapshots(at.log, lineage=at.views.lineage)
        with scratch() as fold:
            await take_snapshot(at.log, snapshots, at.home, live=(at.tables, at.upkeep), scratch=fold)
        await at.feed(sms("i1", PHONE))
        at.shell.stop()
        with suppress(RetryableError):
            await snapshots.restore(at.home, at.tables, into=at.home)
        return [each.kind for each in await at.differences()]


@pytest.mark.parametrize("planted", [False, True])
def test_a_snapshot_is_not_put_beside_rows(monkeypatch: pytest.MonkeyPatch, *, planted: bool) -> None:
    """Else those that it lacks stay, and are read beside an `applied` that they are not of."""
    if planted:
        a_snapshot_goes_beside_rows(monkeypatch)
    kinds = asyncio.run(_kinds_behind_a_late_restore())
    assert ("row_extra" in kinds) is planted
    assert bool(kinds) is planted


async def _open_by_a_snapshot_over_half_of_another() -> int:
    """Restore a part of a snapshot that has an open conversation, then a later one that has it closed.

    Return how many are in the list of open ones.
    """
    shadow = 100

    def dies() -> None:
        raise RetryableError("killed", "It was killed.")

    async with rebuilt_bench() as at:
        snapshots = Snapshots(at.log, lineage=at.views.lineage)

        async def take() -> None:
            with scratch() as fold:
                await take_snapshot(at.log, snapshots, at.home, live=(at.tables, at.upkeep), scratch=fold)

        await at.feed(saved("c1", PHONE), sms("i1", PHONE))
        await take()
        with pytest.raises(RetryableError, match="killed"):
            await snapshots.restore(at.home, at.tables, into=shadow, told=dies)
        close = {"tenant": "acme", "type": "conversation.close", "actor": "ann", "command_id": "k1"}
        conversation = (await at.updates())[0]["conversation_id"]
        await at.feed(("commands.v1", {**close, "conversation_id": conversation, "at": "2026-11-22T10:15:30Z"}))
        await take()
        await snapshots.restore(at.home, at.tables, into=shadow)
        return len(await at.tables.scored(shadow, "open:acme", low=0, high=ALL_TIME, limit=10))


@pytest.mark.parametrize("planted", [False, True])
def test_rows_of_an_older_snapshot_go(monkeypatch: pytest.MonkeyPatch, *, planted: bool) -> None:
    if planted:
        rows_of_an_older_snapshot_stay(monkeypatch)
    assert bool(asyncio.run(_open_by_a_snapshot_over_half_of_another())) is planted
