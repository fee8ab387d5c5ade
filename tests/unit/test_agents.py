"""Who is qualified: the later record stands, on whatever partition."""

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.application.intake import AGENTS, Agents
from interaction_router.ports import Outgoing


def _agent(channels: str, at_ms: int) -> Outgoing:
    value = f'{{"tenant": "acme", "agent_id": "thandi", "name": "Thandi", "channels": {channels}}}'
    return Outgoing(b"acme|thandi", value.encode(), (), at_ms)


async def test_the_later_record_stands_on_whatever_partition() -> None:
    """Two producers with partitioners of their own write one agent to two partitions."""
    with EmbeddedDatabase() as database:
        log = EmbeddedLog(database, SystemClock())
        await log.create(AGENTS, 2)
        await log.append(AGENTS, 0, [_agent('["voice", "sms"]', 2000)])
        await log.append(AGENTS, 1, [_agent('["voice"]', 1000)])
        agents = Agents(log)
        await agents.follow()
        assert agents.objection("acme", "thandi", "sms") is None
        await log.append(AGENTS, 1, [Outgoing(b"acme|thandi", None, (), 3000)])
        await agents.follow()
        assert agents.objection("acme", "thandi", "sms") is None, "a tenant without agents is not checked"
        await log.append(AGENTS, 0, [_agent('["voice"]', 4000)])
        await agents.follow()
        assert agents.objection("acme", "thandi", "sms") == "agent_not_qualified"
        assert agents.objection("acme", "sipho", "sms") == "agent_unknown"


async def test_on_one_partition_the_last_record_stands_whatever_its_stamp() -> None:
    """Compaction keeps that one: a worker that starts later knows no other. Producers' clocks are not the same."""
    with EmbeddedDatabase() as database:
        log = EmbeddedLog(database, SystemClock())
        await log.create(AGENTS, 1)
        await log.append(AGENTS, 0, [_agent('["voice", "sms"]', 2000), _agent('["voice"]', 1000)])
        agents = Agents(log)
        await agents.follow()
        assert agents.objection("acme", "thandi", "sms") == "agent_not_qualified"
