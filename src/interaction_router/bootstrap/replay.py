"""Replays of the log into another router, and what lets that one take over."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.topics import EmbeddedTopics
from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.groups import begin_at, committed
from interaction_router.adapters.kafka.survey import members_of
from interaction_router.adapters.kafka.topics import TopicPlan, check_topics, plan
from interaction_router.application.differences import Comparison, LooseComparison
from interaction_router.application.intake import Agents
from interaction_router.application.log_replay import LogReplay
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.promotion import (
    Finding,
    GoingOn,
    conversations_behind,
    of_conversations,
    of_lag,
    of_rows,
    of_undecided,
    of_workers,
    undecided,
    where_to_go_on,
)
from interaction_router.application.raw_replay import RawReplay, raw_ranges
from interaction_router.application.replay_scope import ReplaySelection
from interaction_router.application.second_log import SecondLogWriter
from interaction_router.application.states import LOOKS
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES
from interaction_router.bootstrap.observing import observer_of
from interaction_router.bootstrap.router import ROLES, raw_reading
from interaction_router.bootstrap.state import SETTLE_S, opened_state, verified
from interaction_router.bootstrap.storage import embedded_file, kafka_log, lineage_of, views_of
from interaction_router.bootstrap.terms import policy_of, raw_streams
from interaction_router.bootstrap.topics import Topics, kafka_topics, topics_of
from interaction_router.domain.errors import FatalError
from interaction_router.domain.names import stream_name, topic_name
from interaction_router.ports import Log, Observer
from interaction_router.settings import Settings

WRITTEN: Final = frozenset({LOG, OUTCOMES, UPDATES, STATE, DEAD_LETTERS})
"""The streams that a replay writes; it makes the others last."""


@dataclass(frozen=True, slots=True)
class SecondLog:
    """The log of a router that is being made.

    `complete` lets its intake begin at these offsets of the inputs, and makes the topics that it needs besides, last.
    """

    lineage: str
    writer: SecondLogWriter
    complete: Callable[[Mapping[tuple[str, int], int]], Awaitable[None]]


Standing = Literal["free", "unfinished", "taken"]


async def standing_of(settings: Settings) -> Standing:
    """Return what is there of the router of these settings; what was embedded and not finished is nothing."""
    path = embedded_file(settings)
    if path is not None:
        return "taken" if path.exists() else "free"
    plans = _plans(settings)
    async with topics_of(settings) as topics:
        missing = {each.stream for each in await topics.diff(plans) if each.kind == "missing"}
    if len(missing) == len(plans):
        return "free"
    if not {each.stream for each in plans} - WRITTEN <= missing:
        return "taken"
    members = await members_of(client_options(settings.kafka), [f"{settings.namespace}-{role}" for role in ROLES])
    return "taken" if any(members.values()) else "unfinished"


async def remove_unfinished(settings: Settings) -> None:
    """Remove the topics of a replay that has not ended, for good, if there are any."""
    if await standing_of(settings) == "unfinished":
        async with kafka_topics(settings) as topics:
            await topics.remove([each for each in _plans(settings) if each.stream in WRITTEN])


def _plans(settings: Settings) -> list[TopicPlan]:
    return plan(settings.topics, settings.channels, inputs_elsewhere=settings.inputs_namespace is not None)


@asynccontextmanager
async def second_log(settings: Settings) -> AsyncIterator[SecondLog]:
    """Make the topics of a router that are written, and have them; until it is complete no worker starts on it."""
    plans = _plans(settings)
    written = [each for each in plans if each.stream in WRITTEN]
    path, observer = embedded_file(settings), observer_of(settings)

    async def complete(topics: Topics, begun: Mapping[tuple[str, int], int]) -> None:
        await begin_at(client_options(settings.kafka), f"{settings.namespace}-intake", begun)
        await observer.reached("replay_intake_placed", LOG)
        await topics.apply(plans)

    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        done = False
        with EmbeddedDatabase(part) as database:
            embedded = EmbeddedLog(database, SystemClock())
            await EmbeddedTopics(embedded).apply(written)
            await observer.reached("replay_begun", LOG)

            async def complete_file(begun: Mapping[tuple[str, int], int]) -> None:
                nonlocal done
                await complete(EmbeddedTopics(embedded), begun)
                done = True

            yield await _second(settings, embedded, observer, complete_file)
        if done:
            part.rename(path)
        return
    async with topics_of(settings) as topics, kafka_log(settings) as log:
        await topics.apply(written)
        await observer.reached("replay_begun", LOG)
        yield await _second(settings, log, observer, partial(complete, topics))


async def _second(
    settings: Settings,
    log: Log,
    observer: Observer,
    complete: Callable[[Mapping[tuple[str, int], int]], Awaitable[None]],
) -> SecondLog:
    return SecondLog(await lineage_of(log), SecondLogWriter(log, await views_of(settings, log), observer), complete)


def second_settings(
    settings: Settings, namespace: str, partitions: int | None, *, whole: bool = True
) -> dict[str, object]:
    """Return what the settings of a router that is made by a replay have otherwise.

    One that has the whole log goes on with the same inputs; a part of it is for looking at.
    """
    alone = settings.embedded.data_dir is not None or not whole
    inputs = None if alone else settings.inputs_namespace or settings.namespace
    return {"namespace": namespace, "inputs_namespace": inputs, "topics.partitions": partitions}


async def intake_offsets(settings: Settings) -> dict[tuple[str, int], int]:
    """Return how far intake has got with the inputs; nothing of embedded storage."""
    if settings.embedded.data_dir is not None:
        return {}
    return await committed(client_options(settings.kafka), f"{settings.namespace}-intake")


async def examine_promotion(settings: Settings, second: Settings) -> list[Finding]:
    """Look at whether the second router can take over.

    Raises:
        FatalError: it is not there, not whole (`replay_unfinished`), or has inputs of its own: `promote_partial`.
    """
    options = client_options(second.kafka)
    await _refuse_unmade(second)
    await _refuse_own_inputs(second)
    async with kafka_log(settings) as live, kafka_log(second) as log:
        await check_topics(log, second.channels)
        left = await undecided(log)
        count, behind = await conversations_behind(live, log)
        for _ in range(LOOKS):
            if not behind:
                break
            await asyncio.sleep(SETTLE_S)
            count, behind = await conversations_behind(live, log)
    members = await members_of(options, [f"{second.namespace}-{role}" for role in ROLES])
    return [
        of_workers(members),
        of_lag(await intake_offsets(settings), await intake_offsets(second)),
        of_undecided(left),
        of_conversations(count, behind),
    ]


async def examine_rows(settings: Settings, told: Callable[[str, int, int], None]) -> Finding:
    """Compare a router's rows with its outcomes, and its state topic with the rows."""
    async with opened_state(settings) as state:
        return of_rows(settings.namespace, len(await verified(state, range(state.views.partitions), told, topic=True)))


async def going_on(settings: Settings, second: Settings, group: str) -> GoingOn:
    """Return where a group of subscribers goes on with the updates of the second router.

    Raises:
        FatalError: `group_unknown`: it has read none of the first.
    """
    topic = topic_name(settings.namespace, UPDATES)
    found = await committed(client_options(settings.kafka), group)
    reached = {partition: offset for (of, partition), offset in found.items() if of == topic}
    if not reached:
        cause = f"The group {group} has no offsets of {topic}."
        raise FatalError("group_unknown", cause, "Check the name; one that has read nothing begins at the beginning.")
    async with kafka_log(settings) as live, kafka_log(second) as log:
        return await where_to_go_on(live, log, reached)


async def move_group(second: Settings, group: str, offsets: Mapping[int, int]) -> None:
    """Let a group, which nobody is in, go on there.

    Raises:
        FatalError: `group_in_use`.
    """
    topic = topic_name(second.namespace, UPDATES)
    await begin_at(client_options(second.kafka), group, {(topic, each): at for each, at in offsets.items()})


async def partition_count(settings: Settings) -> int:
    """Return how many partitions a router has, whatever its settings say."""
    async with kafka_log(settings) as log:
        return await log.partitions(LOG)


async def _refuse_unmade(settings: Settings) -> None:
    standing = await standing_of(settings)
    if standing == "free":
        cause = f"There is no router {settings.namespace}: all its topics are missing."
        raise FatalError("topic_missing", cause, "Make it with `interaction-router replay log`, --into and --yes.")
    if standing == "unfinished":
        cause = f"A replay into {settings.namespace} has begun and not ended."
        raise FatalError("replay_unfinished", cause, "Replay into it again with --anew.")


async def _refuse_own_inputs(settings: Settings) -> None:
    """Refuse a part; the router that the inputs are of, to which the way leads back, is none."""
    if settings.inputs_namespace is None:
        return
    inputs = [each for each in plan(settings.topics, settings.channels) if each not in _plans(settings)]
    async with topics_of(settings) as topics:
        missing = [each for each in await topics.diff(inputs) if each.kind == "missing"]
    if len(missing) < len(inputs):
        cause = f"{settings.namespace} has inputs of its own: it was replayed in part, or is a router by itself."
        raise FatalError("promote_partial", cause, "Replay the whole log, without --until, --tenant and --contact.")


async def raw_ranges_of(
    settings: Settings, log: Log, begun: Mapping[tuple[str, int], int]
) -> Mapping[tuple[str, int], tuple[int, int]]:
    """Return the offsets of the raw records, by stream and partition, that intake has taken: `begun` by topic.

    Raises:
        FatalError: the first of them are no longer kept, or there are none.
    """
    namespace, inputs = settings.namespace, settings.inputs_namespace
    ends = {(stream_name(namespace, topic, inputs), partition): at for (topic, partition), at in begun.items()}
    return await raw_ranges(log, raw_streams(settings), ends)


async def raw_replay(settings: Settings, log: Log, *, partitions: int, lineage: str) -> RawReplay:
    """Return the replay of a router's raw records for one of another lineage."""
    agents = Agents(log)
    await agents.follow()
    return RawReplay(
        log,
        await raw_reading(settings, log, agents),
        partitions=partitions,
        lineage=lineage,
        policy=policy_of(settings),
        comparison=LooseComparison(namespace=settings.namespace, inputs=settings.inputs_namespace),
    )


async def log_replay(
    settings: Settings, log: Log, *, partitions: int | None, lineage: str, selection: ReplaySelection
) -> LogReplay:
    """Return the replay of a router's log for one of another lineage; as many partitions where no number is given."""
    count = await log.partitions(LOG)
    return LogReplay(
        log,
        namespace=settings.namespace,
        partitions=(count, partitions or count),
        lineages=(await lineage_of(log), lineage),
        selection=selection,
        comparison=Comparison(namespace=settings.namespace),
    )
