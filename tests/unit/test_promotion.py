"""Names of topics where the inputs are another namespace's, and whether a router can take over."""

from collections.abc import Iterator, Mapping

import orjson
import pytest

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.kafka.topics import plan
from interaction_router.application.letters import Letters
from interaction_router.application.outcomes import OUTCOMES, outcome_records
from interaction_router.application.promotion import (
    Finding,
    GoingOn,
    conversations_behind,
    of_conversations,
    of_lag,
    of_undecided,
    of_workers,
    undecided,
    where_to_go_on,
)
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES
from interaction_router.cli.app import run
from interaction_router.cli.invocation import Invocation
from interaction_router.domain.events import Decision, InteractionAdded, Outcome, Refusal, Standing
from interaction_router.domain.ids import Place
from interaction_router.domain.messages import Raw
from interaction_router.domain.names import stream_name, topic_name
from interaction_router.ports import Outgoing
from interaction_router.settings import SettingsError, load_settings
from interaction_router.settings.model import TopicsSettings
from interaction_router.wire.updates import dead_letter, update_records
from tests.unit.test_redriving import FakeClock
from tests.unit.test_wire_updates import CALL


@pytest.mark.parametrize(
    ("stream", "topic"),
    [
        ("interactions.sms.v1", "a.interactions.sms.v1"),
        ("contacts.v1", "a.contacts.v1"),
        ("agents.v1", "a.agents.v1"),
        ("commands.v1", "a.commands.v1"),
        ("conversations.v1", "b.conversations.v1"),
        ("internal.log", "b.internal.log"),
        ("dlq.v1", "b.dlq.v1"),
    ],
)
def test_inputs_are_those_of_the_other_namespace(stream: str, topic: str) -> None:
    assert topic_name("b", stream, "a") == topic
    assert stream_name("b", topic, "a") == stream
    assert topic_name("b", stream) == f"b.{stream}"


@pytest.mark.parametrize(
    "topic", ["b.interactions.sms.v1", "a.conversations.v1", "c.contacts.v1", "gateways/twilio/acme"]
)
def test_what_is_of_neither_keeps_its_whole_name(topic: str) -> None:
    assert stream_name("b", topic, "a") == topic


def test_such_a_router_has_no_inputs_of_its_own() -> None:
    streams = [each.stream for each in plan(TopicsSettings(), ["sms"], inputs_elsewhere=True)]
    assert "internal.log" in streams
    assert not [stream for stream in streams if topic_name("b", stream, "a").startswith("a.")]


def test_a_letter_of_it_goes_back_to_the_input() -> None:
    topic = topic_name("b", "interactions.sms.v1", "a")
    place = Place("interactions.sms.v1", 3, 17)
    letter = dead_letter(Raw(None, b"{", ()), Refusal("malformed_json", ""), stage="intake", place=place, topic=topic)
    with EmbeddedDatabase() as database:
        letters = Letters(EmbeddedLog(database, FakeClock()), namespace="b", inputs="a")

        class Stood:
            offset, timestamp, key, value, headers = 0, 0, letter.key, letter.value, letter.headers

        found = letters.letter(0, Stood())
    assert (found.name, found.source) == ("a.interactions.sms.v1/3@17", place)


@pytest.mark.parametrize(
    ("more", "setting"),
    [({"NAMESPACE": "a"}, "inputs_namespace"), ({"EMBEDDED__DATA_DIR": "data"}, "inputs_namespace")],
)
def test_settings_that_contradict_it_are_told(more: dict[str, str], setting: str) -> None:
    env = {f"INTERACTION_ROUTER_{name}": value for name, value in {"INPUTS_NAMESPACE": "a", **more}.items()}
    with pytest.raises(SettingsError) as refused:
        load_settings(env, None, {})
    assert [problem.name for problem in refused.value.problems] == [setting]


def test_findings() -> None:
    assert of_workers({"b-intake": 1, "b-assignment": 2}).verdict == "ok"
    assert of_workers({"b-intake": 1, "b-assignment": 0}) == Finding("workers", "fail", "nobody is in b-assignment")
    assert (
        of_lag({("t", 0): 5_000, ("t", 1): 7}, {("t", 0): 4_999, ("t", 1): 9}).detail == "1 records behind this router"
    )
    assert of_lag({("t", 0): 5_000}, {}).verdict == "fail"
    assert [of_undecided(count).verdict for count in (0, 1_000, 1_001)] == ["ok", "ok", "fail"]


async def test_what_is_undecided_is_counted() -> None:
    with EmbeddedDatabase() as database:
        log = EmbeddedLog(database, FakeClock())
        for stream in (LOG, OUTCOMES, DEAD_LETTERS):
            await log.create(stream, 2)
        await log.append(LOG, 0, [Outgoing(None, b"{}")] * 3)
        await log.append(LOG, 1, [Outgoing(None, b"{}")])
        assert await undecided(log) == 4
        for offset, expected in ((0, 0), (1, 7)):  # the second does not count: it stands elsewhere than it was meant to
            outcome = Outcome(offset, expected, -1, "acme", None, None, None, Decision(0))
            await log.append(OUTCOMES, 0, outcome_records(outcome))
        assert await undecided(log) == 3


def of_conversation(name: str, seq: int, at: int = 0) -> dict[str, object]:
    return {"conversation_id": name, "seq": seq, "id": f"{name}{seq}", "at": f"2026-11-22T10:15:{at:02}.000Z"}


def of_contact(name: str, at: int) -> dict[str, object]:
    return {"id": name, "at": f"2026-11-22T10:15:{at:02}.000Z"}


def standing(seq: int, **more: object) -> dict[str, object]:
    plain = {"status": "open", "contact_id": None, "endpoint": None, "interaction_count": 1}
    return {**plain, "seq": seq, **more}


class Told:
    """What a router has told: updates by partition, and conversations as they stand."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self.log = EmbeddedLog(database, FakeClock())
        self._database = database

    async def begin(
        self, *partitions: list[dict[str, object]], state: Mapping[str, dict[str, object] | None] | None = None
    ) -> EmbeddedLog:
        await self.log.create(UPDATES, max(1, len(partitions)))
        await self.log.create(STATE, 1)
        for partition, updates in enumerate(partitions):
            await self.log.append(UPDATES, partition, [Outgoing(b"", orjson.dumps(each)) for each in updates])
        for name, row in (state or {}).items():
            await self.log.append(STATE, 0, [Outgoing(name.encode(), None if row is None else orjson.dumps(row))])
        return self.log

    def trim(self, partition: int, end: int) -> None:
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM record WHERE partition = ? AND offset < ?"
                " AND stream = (SELECT id FROM stream WHERE name = 'conversations.v1')",
                (partition, end),
            )


@pytest.fixture
def live() -> Iterator[Told]:
    with EmbeddedDatabase() as database:
        yield Told(database)


@pytest.fixture
def other() -> Iterator[Told]:
    with EmbeddedDatabase() as database:
        yield Told(database)


async def test_a_subscriber_goes_on_before_the_first_update_that_it_does_not_know(live: Told, other: Told) -> None:
    """Of `a` it has read one of two, of `b` both, of `c` none; the third of `b` is the other router's alone."""
    before = [of_conversation(*each) for each in (("a", 1), ("b", 1), ("b", 2), ("a", 2), ("c", 1))]
    after = [[of_conversation("a", 1), of_conversation("a", 2)], [of_conversation("b", each) for each in (1, 2, 3)], []]
    after[2] = [of_conversation("c", 1), of_conversation("a", 2)]
    rows = {"a": standing(2), "b": standing(2), "c": standing(1)}
    found = await where_to_go_on(await live.begin(before, state=rows), await other.begin(*after), {0: 3})
    assert found == GoingOn({0: 1, 1: 2, 2: 0}, unread=4, again=0)
    assert (await where_to_go_on(live.log, other.log, {0: 5})).offsets == {0: 2, 1: 2, 2: 2}
    assert (await where_to_go_on(live.log, other.log, {0: 0})).offsets == {0: 0, 1: 0, 2: 0}


async def test_what_retention_has_removed_is_not_read_again(live: Told, other: Told) -> None:
    updates = [of_conversation("a", 1, 1), of_contact("x", 2), of_conversation("b", 1, 3), of_contact("y", 4)]
    rows = {"a": standing(1), "b": standing(1)}
    await live.begin(updates, state=rows)
    await other.begin([*updates, of_contact("z", 5)])
    live.trim(0, 2)
    assert (await where_to_go_on(live.log, other.log, {0: 4})).offsets == {0: 4}
    assert (await where_to_go_on(live.log, other.log, {0: 3})).offsets == {0: 3}
    assert await where_to_go_on(live.log, other.log, {0: 2}) == GoingOn({0: 1}, unread=4, again=0)


@pytest.mark.parametrize(
    ("there", "behind"),
    [
        ({"a": standing(2), "b": None}, []),
        ({"a": standing(3, status="closed"), "b": None}, []),
        ({"a": standing(1), "b": None}, ["a"]),
        ({"a": standing(2, status="closed"), "b": None}, ["a"]),
        ({"a": standing(2, contact_id="c1"), "b": None}, ["a"]),
        ({"b": None}, ["a"]),
        ({"a": standing(2), "b": standing(5)}, ["b"]),
        ({"a": standing(2)}, []),
    ],
)
async def test_conversations_that_do_not_go_on_there_are_named(
    live: Told, other: Told, there: Mapping[str, dict[str, object] | None], behind: list[str]
) -> None:
    """Also one that is erased here and not there."""
    await live.begin(state={"a": standing(1), "b": None})
    await live.log.append(STATE, 0, [Outgoing(b"a", orjson.dumps(standing(2)))])
    await other.begin(state=there)
    count, found = await conversations_behind(live.log, other.log)
    assert (count, found) == (2, behind)
    assert of_conversations(count, found).verdict == ("fail" if behind else "ok")
    assert of_conversations(9, ["a", "b", "c", "d"]).detail.endswith("a, b, c, …")


def test_embedded_storage_has_nobody_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    env = {"INTERACTION_ROUTER_EMBEDDED__DATA_DIR": "data"}
    assert run(["replay", "promote", "--into", "b"], Invocation(env=env)) == 1
    assert "promote_embedded" in capsys.readouterr().err
    assert run(["replay", "promote", "--into", "router"], Invocation(env={})) == 2
    assert run(["replay", "promote", "--into", "b", "--yes"], Invocation(env={})) == 2


def test_the_cause_of_an_update_is_where_the_record_stands() -> None:
    now = Standing("0c3e1f6a-0000-8000-8000-000000000001", 2, None, None, "open", "opened_unlinked")
    for stream, topic in (("interactions.voice.v1", "a.interactions.voice.v1"), ("internal.log", "b.internal.log")):
        event = InteractionAdded(now, "entry", "received/", CALL)
        outcome = Outcome(0, 0, 0, "acme", Place(stream, 1, 2), None, None, Decision(0, (event,)))
        (update,) = update_records(outcome, partition=0, namespace="b", inputs="a")
        assert orjson.loads(update.value)["cause"]["topic"] == topic
