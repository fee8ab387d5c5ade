"""What becomes of a request: read from the outcomes that count, and from no others."""

from pathlib import Path

import orjson
import pytest

from interaction_router.application.requests import Requests, Trail
from interaction_router.bootstrap.embedded import answering, embedded_router
from interaction_router.bootstrap.storage import opened
from interaction_router.domain.errors import RejectedError
from interaction_router.domain.events import Decision, Outcome, Refusal
from interaction_router.domain.ids import Place
from interaction_router.domain.messages import Origin
from interaction_router.ports import Outgoing
from interaction_router.settings import EmbeddedSettings, Settings, TopicsSettings
from interaction_router.wire.codec import encode_outcome

COMMAND = {"tenant": "acme", "type": "contact.erase", "contact_id": "c1", "actor": "ann", "command_id": "k"}


@pytest.fixture
async def settings(tmp_path: Path) -> Settings:
    made = Settings(embedded=EmbeddedSettings(data_dir=tmp_path), topics=TopicsSettings(partitions=3))
    async with embedded_router(made) as embedded:
        await embedded.shell.settled()
    return made


async def test_an_outcome_that_does_not_count_says_nothing(settings: Settings) -> None:
    """A worker that has lost its partition may still write one: it stands where it was not meant to."""
    async with opened(settings) as (log, tables):
        trail = Trail(log, tables, namespace="router")
        await trail.begin("commands.v1", 0)
        await log.append("commands.v1", 0, [Outgoing(b"k", orjson.dumps(COMMAND))])
        end = (await log.bounds("internal.outcomes", 1)).end
        origin = Origin(f"commands.v1/{await log.lineage('commands.v1')}", 0, 0, 0)
        cause = Place("commands.v1", 0, 0)
        refused = Decision(1, refusal=Refusal("contact_unknown", "no contact of this id is saved"))
        zombie = Outcome(end, end + 7, -1, "acme", cause, origin, None, refused)
        await log.append("internal.outcomes", 1, [encode_outcome(zombie)])
        fate = await trail.follow(cause, wait_s=0.2)
        assert (fate.done, fate.refusal) == (False, None)


async def test_a_dead_letter_of_intake_is_the_answer(settings: Settings) -> None:
    async with opened(settings) as (log, tables):
        trail = Trail(log, tables, namespace="router")
        await trail.begin("commands.v1", 1)
        await log.append("commands.v1", 1, [Outgoing(b"k", b"{")])

        def letter(offset: str) -> Outgoing:
            place = (("dlq_topic", b"router.commands.v1"), ("dlq_partition", b"1"), ("dlq_offset", offset.encode()))
            return Outgoing(b"k", b"{", (("dlq_code", b"malformed_json"), ("dlq_message", b"not JSON"), *place))

        await log.append("dlq.v1", 1, [letter("5"), letter("0")])
        fate = await trail.follow(Place("commands.v1", 1, 0), wait_s=1)
        assert fate.done
        assert fate.refusal == Refusal("malformed_json", "not JSON")


async def test_another_request_with_the_same_effect_is_not_mistaken_for_it(settings: Settings) -> None:
    async with answering(settings) as (log, tables):
        requests = Requests(log, tables, namespace="router")
        saved = {"tenant": "acme", "type": "contact.saved", "contact_id": "c1", "addresses": ["+27821234567"]}
        first = await requests.contact_event(saved, region=None, wait_s=5)
        second = await requests.contact_event({**saved, "contact_id": "c2"}, region=None, wait_s=5)
        assert (first.done, first.updates, first.changed) == (True, [], True)
        assert [update["type"] for update in second.updates] == ["contact.conflict"]
        erased = await requests.command(COMMAND, wait_s=5)
        again = await requests.command(COMMAND, wait_s=5)
        assert (erased.done, erased.changed, again.done, again.changed) == (True, True, True, False)
        assert first.place != second.place


async def test_what_breaks_a_rule_is_never_appended(settings: Settings) -> None:
    async with opened(settings) as (log, tables):
        requests = Requests(log, tables, namespace="router")
        with pytest.raises(RejectedError, match="unsupported_type"):
            await requests.command({**COMMAND, "type": "contact.praise"}, wait_s=0)
        with pytest.raises(RejectedError, match="schema_invalid"):
            await requests.command({**COMMAND, "tenant": "Acme Inc"}, wait_s=0)
        ends = [(await log.bounds("commands.v1", partition)).end for partition in range(3)]
        assert ends == [0, 0, 0]


async def test_answering_keeps_the_partitions_that_the_storage_has(settings: Settings) -> None:
    """More of them would send every entity to another home."""
    more = settings.model_copy(update={"topics": TopicsSettings(partitions=8)})
    async with answering(more) as (log, _):
        assert await log.partitions("internal.log") == 3
