"""Consumer groups: who is in them and how far they are; and where one that nobody is in begins."""

from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from interaction_router.adapters.kafka.client import ClientOptions
from interaction_router.adapters.kafka.failures import translating
from interaction_router.adapters.kafka.survey import members_of
from interaction_router.domain.errors import FatalError

Spots = Mapping[tuple[str, int], int]
"""Offsets by topic and partition."""

_NONE = -1


async def committed(options: ClientOptions, group: str) -> dict[tuple[str, int], int]:
    """Return the offsets that a group goes on from; none of one that has committed nothing."""
    # The first question about a group in a cluster's life makes the topic that the answers stand in.
    await members_of(options, [group])
    admin = AIOKafkaAdminClient(**options)
    with translating(f"group {group}"):
        try:
            await admin.start()
            found = await admin.list_consumer_group_offsets(group)
        finally:
            await admin.close()
    return {(place.topic, place.partition): at.offset for place, at in found.items() if at.offset != _NONE}


async def begin_at(options: ClientOptions, group: str, offsets: Spots) -> None:
    """Let a group that nobody is in begin at these offsets.

    Raises:
        FatalError: `group_in_use`.
    """
    if not offsets:
        return
    consumer = AIOKafkaConsumer(**options, group_id=group, enable_auto_commit=False)
    places = {TopicPartition(*place): offset for place, offset in offsets.items()}
    with translating(f"group {group}"):
        try:
            await consumer.start()
            consumer.assign(list(places))
            await consumer.commit(places)
        except (errors.CommitFailedError, errors.UnknownMemberIdError) as error:
            cause = f"Somebody is in the group {group}: its offsets are its own."
            raise FatalError("group_in_use", cause, "Stop its workers and try again.") from error
        finally:
            await consumer.stop()
