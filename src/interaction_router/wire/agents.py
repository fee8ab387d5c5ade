"""Agent records (section 5 of the contract)."""

from dataclasses import dataclass

from interaction_router.wire import schema
from interaction_router.wire.schema import Id, Record, Tenant, Text
from interaction_router.wire.strict_json import read_object


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """An agent and its channels; `gone` of one that no longer is."""

    tenant: str
    agent_id: str
    name: str | None = None
    channels: frozenset[str] = frozenset()
    gone: bool = False


class _Agent(Record):
    tenant: Tenant
    agent_id: Id
    name: Text | None = None
    channels: list[Text]


class _Key(Record):
    tenant: Tenant
    agent_id: Id


def agent_record(value: bytes | None, key: bytes | None) -> AgentRecord:
    """Return the agent; of one that is gone only the key, `tenant|agent_id`, says who it was.

    Raises:
        RejectedError: `too_large`, `malformed_json` or `schema_invalid`.
    """
    if value is None:
        return _gone(key)
    agent = schema.validated(_Agent, read_object(value))
    return AgentRecord(agent.tenant, agent.agent_id, agent.name, frozenset(agent.channels))


def _gone(key: bytes | None) -> AgentRecord:
    tenant, separator, agent_id = (key or b"").decode(errors="replace").partition("|")
    if not separator:
        raise schema.invalid("key", "has to be tenant|agent_id where the value is null")
    named = schema.validated(_Key, {"tenant": tenant, "agent_id": agent_id})
    return AgentRecord(named.tenant, named.agent_id, gone=True)
