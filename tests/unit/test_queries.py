"""What is asked of tables and topics, on rows and updates that a test has put there."""

from collections.abc import AsyncIterator, Sequence

import orjson
import pytest

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.application import queries as module
from interaction_router.application.queries import Follower, Queries, conversation_json
from interaction_router.domain.ids import Entity, conversation_hash, home
from interaction_router.domain.rows import Contact, Conversation, Moved, Row, contact_key, conversation_key
from interaction_router.ports import Outgoing, Writes
from interaction_router.wire.codec import encode_row
from interaction_router.wire.times import spell_time

NOW_MS = 1_795_000_000_000
PARTITIONS = 4
ID = "00000002-0000-8000-8000-000000000000"
HOME = conversation_hash(ID) % PARTITIONS


class FixedClock:
    def now_ms(self) -> int:
        return NOW_MS


class Storage:
    """A log and tables in memory."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self.log = EmbeddedLog(database, FixedClock())
        self.tables = EmbeddedTables(database)
        self.queries = Queries(self.log, self.tables)
        self._applied: dict[int, int] = {}

    async def begin(self) -> None:
        for stream in ("internal.log", "conversations.v1", "agents.v1"):
            await self.log.create(stream, PARTITIONS)

    async def put(
        self, partition: int, rows: Sequence[Row], scores: dict[tuple[str, str], float] | None = None
    ) -> None:
        writes = Writes(scores=scores or {})
        for row in rows:
            match row:
                case Conversation() | Moved():
                    writes.puts[conversation_key(row.conversation_id)] = encode_row(row)
                case Contact():
                    writes.puts[contact_key(row.tenant, row.contact_id)] = encode_row(row)
                case _:
                    raise TypeError(row)
        after = self._applied.get(partition, -1)
        self._applied[partition] = await self.tables.apply(partition, after=after, applied=after + 1, writes=writes)

    async def tell(self, *updates: dict[str, object]) -> None:
        for update in updates:
            key = str(update["conversation_id"])
            partition = conversation_hash(key) % PARTITIONS
            at = Outgoing(key.encode(), orjson.dumps(update), (), NOW_MS)
            await self.log.append("conversations.v1", partition, [at])


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    with EmbeddedDatabase() as database:
        made = Storage(database)
        await made.begin()
        yield made


def conversation(
    conversation_id: str = ID, *, seq: int = 3, status: str = "open", tenant: str = "acme"
) -> Conversation:
    return Conversation(
        conversation_id,
        tenant,
        Entity(tenant, "endpoint", "tel:+27821234567"),
        seq,
        status,  # type: ignore[arg-type]  # one of the statuses
        None,
        "tel:+27821234567",
        NOW_MS,
        0,
    )


def update(seq: int, *, contact: str | None = None, happened_s: int | None = None) -> dict[str, object]:
    fields: dict[str, object] = {
        "type": "conversation.linked",
        "conversation_id": ID,
        "seq": seq,
        "at": spell_time(NOW_MS + seq * 1000),
        "contact_id": contact,
        "status": "open",
    }
    if happened_s is not None:
        fields["interaction"] = {"occurred_at": spell_time(NOW_MS + happened_s * 1000)}
    return fields


async def test_the_timeline_has_each_update_once_and_what_was_before(storage: Storage) -> None:
    other = {**update(1), "conversation_id": "00000006-0000-8000-8000-000000000000"}
    await storage.tell(update(1), other, update(2), update(1), update(2), update(3, contact="c1"))
    timeline = await storage.queries.timeline(conversation())
    assert [step.update["seq"] for step in timeline.steps] == [1, 2, 3]
    assert [(step.status_before, step.contact_before) for step in timeline.steps] == [
        (None, None),
        ("open", None),
        ("open", None),
    ]
    assert (timeline.first_seq, timeline.last_seq) == (1, 3)


async def test_the_timeline_is_shown_as_it_happened_the_opening_first(storage: Storage) -> None:
    await storage.tell(
        update(1), update(2, happened_s=-5), update(3), update(4, happened_s=-9), update(5, happened_s=-5)
    )
    timeline = await storage.queries.timeline(conversation(seq=5))
    assert [step.update["seq"] for step in timeline.steps] == [1, 4, 2, 5, 3]


async def test_the_timeline_says_what_is_no_longer_there_and_not_yet(storage: Storage) -> None:
    await storage.tell(update(3), update(4))
    timeline = await storage.queries.timeline(conversation(seq=6))
    assert (timeline.first_seq, timeline.last_seq) == (3, 4)
    empty = await storage.queries.timeline(conversation("00000001-0000-8000-8000-000000000000", seq=6))
    assert (empty.steps, empty.first_seq, empty.last_seq) == ([], 7, 0)


async def test_a_conversation_is_found_behind_its_stubs(storage: Storage) -> None:
    contact = Entity("acme", "contact", "c1")
    there = home(contact, PARTITIONS)
    assert there != HOME
    await storage.put(HOME, [Moved(ID, "acme", contact)])
    assert await storage.queries.find_conversation(ID) is None
    await storage.put(there, [conversation(seq=7)])
    found = await storage.queries.find_conversation(ID)
    assert found is not None
    assert found.seq == 7
    assert await storage.queries.conversation("other", ID) is None


async def test_stubs_in_a_circle_end(storage: Storage) -> None:
    contact = Entity("acme", "contact", "c1")
    await storage.put(HOME, [Moved(ID, "acme", contact)])
    await storage.put(home(contact, PARTITIONS), [Moved(ID, "acme", contact)])
    assert await storage.queries.find_conversation(ID) is None


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 20, 50])
async def test_pages_of_equal_activity_miss_none(storage: Storage, limit: int) -> None:
    """Every third is another tenant's in the index's place: pages have to go on past what is not wanted."""
    expected = []
    for nth in range(40):
        partition = nth % PARTITIONS
        key = f"{partition:08x}-0000-8000-8000-{nth:012x}"
        at_ms = float(NOW_MS + nth // 10)
        wanted = nth % 3 != 0
        row = conversation(key, tenant="acme" if wanted else "other")
        await storage.put(partition, [row], {("open:acme", key): at_ms})
        if wanted:
            expected.append((at_ms, key))
    found = await storage.queries.conversations("acme", status="open", limit=limit)
    assert [row.conversation_id for row in found] == [key for _, key in sorted(expected, reverse=True)][:limit]


async def test_one_that_is_moving_is_listed_once_as_it_is_further_on(storage: Storage) -> None:
    await storage.put(0, [conversation(seq=3)], {("open:acme", ID): float(NOW_MS)})
    await storage.put(1, [conversation(seq=4)], {("open:acme", ID): float(NOW_MS - 1)})
    assert [row.seq for row in await storage.queries.conversations("acme", limit=5)] == [4]


async def test_a_member_without_its_row_is_passed_over(storage: Storage) -> None:
    await storage.put(0, [], {("open:acme", ID): float(NOW_MS)})
    await storage.put(1, [Moved(ID, "acme", Entity("acme", "contact", "c1"))], {("open:acme", ID): float(NOW_MS)})
    assert await storage.queries.conversations("acme", limit=5) == []


async def test_the_survivor_of_aliases(storage: Storage) -> None:
    rows = [
        Contact("acme", "a", "alias", into="b"),
        Contact("acme", "b", "alias", into="c"),
        Contact("acme", "c", "live"),
        Contact("acme", "x", "alias", into="x"),
    ]
    for row in rows:
        await storage.put(home(Entity("acme", "contact", row.contact_id), PARTITIONS), [row])
    first, circle = await storage.queries.contact("acme", "a"), await storage.queries.contact("acme", "x")
    assert first is not None
    assert circle is not None
    assert (await storage.queries.survivor(first)).contact_id == "c"
    assert (await storage.queries.survivor(circle)).contact_id == "x"


async def test_agents_of_several_partitions_are_the_newest(storage: Storage) -> None:
    def record(channel: str, at_ms: int) -> Outgoing:
        value = {"tenant": "acme", "agent_id": "x", "channels": [channel]}
        return Outgoing(b"acme|x", orjson.dumps(value), (), at_ms)

    await storage.log.append("agents.v1", 0, [record("sms", NOW_MS)])
    await storage.log.append("agents.v1", 1, [record("voice", NOW_MS + 5)])
    await storage.log.append("agents.v1", 2, [record("email", NOW_MS - 5), Outgoing(b"broken", b"{", ())])
    (agent,) = await storage.queries.agents()
    assert (sorted(agent.agent.channels), agent.partitions) == (["voice"], (0, 1, 2))
    await storage.log.append("agents.v1", 1, [Outgoing(b"acme|x", None)])
    (agent,) = await storage.queries.agents("acme")
    assert agent.partitions == (0, 2)
    assert await storage.queries.agents("other") == []


async def test_a_follower_reads_on_from_where_it_was(storage: Storage) -> None:
    await storage.tell(update(1))
    late, early = Follower(storage.log), Follower(storage.log)
    await late.begin(from_beginning=False)
    await early.begin(from_beginning=True)
    await storage.tell(update(2))

    async def seqs(follower: Follower) -> list[int]:
        return [orjson.loads(record.value or b"")["seq"] async for _, record in follower.read()]

    assert (await seqs(early), await seqs(late)) == ([1, 2], [2])
    assert (await seqs(early), await seqs(late)) == ([], [])


def test_a_follower_keeps_the_highest_and_forgets_who_was_silent_longest(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    follower = Follower(storage.log)
    seen = [
        follower.is_new({"conversation_id": name, "seq": seq}) for name, seq in [("a", 1), ("a", 1), ("a", 2), ("b", 5)]
    ]
    assert seen == [True, False, True, True]
    assert follower.is_new({"conversation_id": "a", "seq": 3})
    assert follower.is_new({"id": "u1"})
    assert not follower.is_new({"id": "u1"})
    assert not follower.is_new({"conversation_id": "a", "seq": 3})
    assert follower.is_new({"conversation_id": "b", "seq": 5})


def test_of_an_erased_conversation_no_address_is_left() -> None:
    assert "endpoint" not in conversation_json(conversation(status="erased"))
    assert conversation_json(conversation())["endpoint"] == "tel:+27821234567"
