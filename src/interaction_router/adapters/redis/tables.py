"""The tables in Redis: one script call reads a partition's rows, or writes a batch of them."""

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from importlib.resources import files
from itertools import chain
from typing import Any, TypeAlias

from redis.exceptions import NoScriptError

from interaction_router.adapters import standing
from interaction_router.adapters.redis.client import Argument, RedisClient
from interaction_router.adapters.redis.errors import translated
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Loaded, Restoring, Standing, Writes, shadow_of

UNLINK_KEYS = 500
"""Keys that `clear` removes with one command."""

PROBE = -1
"""The partition that `check` reads: none that anybody writes, damages or clears."""

APPLIED = "applied"
"""What the key that says how far a partition is has there."""

SHADOW = "shadow:"
"""What the keys of a partition's shadow have behind the partition's own prefix."""

Grouped: TypeAlias = dict[str, list[Argument]]
"""Arguments by the bucket or sorted set that they are for."""


def key_prefix(namespace: str, partition: int) -> str:
    """Return what the partition's keys begin with; the braces make them, and those of its shadow, one slot."""
    if partition < PROBE:
        return f"{namespace}:{{{shadow_of(partition)}}}:{SHADOW}"
    return f"{namespace}:{{{partition}}}:"


class RedisTables:
    """`ports.Tables` on Redis or Valkey; keys and arguments are described in `tables.lua`.

    An `apply` whose answer is lost raises `RetryableError` and may have been done or may still be. Whoever then finds
    `applied` where that batch ends may go on from there, whoever wrote it: rows are a function of the counted
    outcomes up to `applied`, so that two writers that reach the same `applied` have written the same rows.
    """

    def __init__(self, client: RedisClient, namespace: str) -> None:
        """Keep the client; keys begin with the namespace."""
        self._client = client
        self._namespace = namespace
        self._script = files(__package__).joinpath("tables.lua").read_text(encoding="utf-8")
        # Redis names a script by this digest; it protects nothing.
        self._digest = hashlib.sha1(self._script.encode(), usedforsecurity=False).hexdigest()

    async def check(self) -> None:
        """See that the server may be used, and that the script runs on it.

        Raises:
            FatalError: somebody has to change the server or the settings.
            RetryableError: the server does not answer, or takes no writes for now.
        """
        await self._client.check()
        await self.load(PROBE, ())

    async def load(self, partition: int, keys: Sequence[RowKey], buckets: Sequence[str] = ()) -> Loaded:
        """Return single rows and whole buckets together with `applied`, all of one moment."""
        prefix = self._prefix(partition)
        strings, string_places, fields, field_places = _split(keys)
        applied, values, field_values, *wholes = await self._run(
            prefix,
            [prefix + bucket for bucket in chain(strings, fields, buckets)],
            ["load", len(strings), len(fields), *_counted(fields.values())],
        )
        rows: list[bytes | None] = [None] * len(keys)
        for place, value in zip(chain(string_places, field_places), chain(values, field_values), strict=True):
            rows[place] = value
        return Loaded(standing.folded(standing.read(applied.decode())), rows, [_by_field(whole) for whole in wholes])

    async def apply(self, partition: int, *, after: int, applied: int, writes: Writes) -> int:
        """Write it all at once iff `applied` is still `after`, and set it; return what `applied` is then.

        Deletes come before puts, and a key without a field drops its whole bucket.
        """
        return standing.folded(await self._move(partition, after=after, then=applied, writes=writes))

    async def restore(self, partition: int, *, after: Standing, then: Standing, writes: Writes) -> Standing:
        """Do as `apply`, also on the way from nothing to a snapshot."""
        if then == after and writes == Writes():  # a question: it leaves no key where there is none
            found, *_ = await self._run(self._prefix(partition), [], ["load", 0, 0])
            return standing.read(found.decode())
        return await self._move(partition, after=after, then=then, writes=writes)

    async def _move(self, partition: int, *, after: Standing, then: Standing, writes: Writes) -> Standing:
        prefix = self._prefix(partition)
        drops, takes = _split_deletes(writes.deletes)
        strings, values, puts = _split_puts(writes)
        unscores, scores = _split_scores(writes)
        lists: tuple[Sequence[str] | Grouped, ...] = (drops, strings, takes, puts, unscores, scores)
        found = await self._run(
            prefix,
            [prefix + bucket for bucket in chain.from_iterable(lists)],
            [
                "apply",
                standing.kept(after),
                standing.kept(then),
                *map(len, lists),
                *values,
                *_counted(chain(takes.values(), puts.values(), unscores.values(), scores.values())),
            ],
        )
        return standing.read(found.decode())

    async def empty(self, partition: int, *, after: Restoring) -> Standing:
        """Forget all of a partition in one script call iff its tables are still `after`: about a microsecond a key.

        Since nobody writes tables that are at it, their keys are those that a scan has found.
        """
        prefix = self._prefix(partition)
        names = [name async for found in keys_of(self._client, prefix) for name in found]
        found = await self._run(prefix, names, ["empty", standing.kept(after)])
        return standing.read(found.decode())

    async def clear(self, partition: int) -> None:
        """Forget all of a partition; broken off, it leaves tables that nobody can load until it is done again."""
        prefix = self._prefix(partition)
        await self._client.call(prefix, "SET", prefix + APPLIED, "clearing")
        async for keys in keys_of(self._client, prefix):
            for start in range(0, len(keys), UNLINK_KEYS):
                await self._client.call(prefix, "UNLINK", *keys[start : start + UNLINK_KEYS])
        await self._client.call(prefix, "UNLINK", prefix + APPLIED)

    async def peek(self, keys: Sequence[tuple[int, RowKey]]) -> list[bytes | None]:
        """Return rows of any partitions in one round trip, each of its own moment."""
        places: dict[tuple[str, ...], list[int]] = {}
        arguments: dict[tuple[str, ...], list[Argument]] = {}
        for place, (partition, (bucket, field)) in enumerate(keys):
            prefix = self._prefix(partition)
            command = ("HMGET", prefix, bucket) if field else ("MGET", prefix)
            places.setdefault(command, []).append(place)
            arguments.setdefault(command, []).append(field or prefix + bucket)
        commands = [
            (prefix, [name, *(prefix + bucket for bucket in of), *values])
            for (name, prefix, *of), values in arguments.items()
        ]
        rows: list[bytes | None] = [None] * len(keys)
        for found, values in zip(places.values(), await self._client.calls(commands), strict=True):
            for place, value in zip(found, values, strict=True):
                rows[place] = value
        return rows

    async def scored(
        self, partition: int, name: str, *, low: float, high: float, limit: int, newest_first: bool = False
    ) -> list[tuple[str, float]]:
        """Return members with scores from `low` to `high`; of equal scores by the bytes of the member."""
        prefix = self._prefix(partition)
        span: tuple[Argument, ...] = (high, low, "BYSCORE", "REV") if newest_first else (low, high, "BYSCORE")
        found = await self._client.call(
            prefix, "ZRANGE", f"{prefix}scores:{name}", *span, "LIMIT", 0, limit, "WITHSCORES"
        )
        return [(member.decode(), float(score)) for member, score in zip(found[::2], found[1::2], strict=True)]

    def _prefix(self, partition: int) -> str:
        return key_prefix(self._namespace, partition)

    async def _run(self, prefix: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Call the script; a server that does not have it (restarted, failed over, flushed) gets it with the call."""
        rest = (1 + len(keys), prefix + APPLIED, *keys, *arguments)
        with translated():
            try:
                return await self._client.raw_call(prefix, "EVALSHA", self._digest, *rest)
            except NoScriptError:
                return await self._client.raw_call(prefix, "EVAL", self._script, *rest)


async def keys_of(client: RedisClient, prefix: str) -> AsyncIterator[list[str]]:
    """Yield a partition's keys but `applied`, some twice, perhaps; a shadow's are not its partition's."""
    async for found in client.scan(escape(prefix) + "*"):
        names = (key.decode().removeprefix(prefix) for key in found)
        yield [prefix + name for name in names if name != APPLIED and not name.startswith(SHADOW)]


def _split(keys: Sequence[RowKey]) -> tuple[list[str], list[int], Grouped, list[int]]:
    """Return single rows and their places, then fields by bucket and their places in that order."""
    strings: list[str] = []
    string_places: list[int] = []
    fields: Grouped = {}
    places: dict[str, list[int]] = {}
    for place, (bucket, field) in enumerate(keys):
        if field:
            fields.setdefault(bucket, []).append(field)
            places.setdefault(bucket, []).append(place)
        else:
            strings.append(bucket)
            string_places.append(place)
    return strings, string_places, fields, list(chain.from_iterable(places.values()))


def _split_deletes(deletes: Iterable[RowKey]) -> tuple[list[str], Grouped]:
    """Return the buckets to drop, and the fields to take by their bucket."""
    drops: list[str] = []
    takes: Grouped = {}
    for bucket, field in deletes:
        if field:
            takes.setdefault(bucket, []).append(field)
        else:
            drops.append(bucket)
    return drops, takes


def _split_puts(writes: Writes) -> tuple[list[str], list[bytes], Grouped]:
    """Return the single rows and their values, then fields and values by turns by their bucket."""
    strings: list[str] = []
    values: list[bytes] = []
    puts: Grouped = {}
    for (bucket, field), value in writes.puts.items():
        if field:
            puts.setdefault(bucket, []).extend((field, value))
        else:
            strings.append(bucket)
            values.append(value)
    return strings, values, puts


def _split_scores(writes: Writes) -> tuple[Grouped, Grouped]:
    """Return members to take, then scores and members by turns, by the key of their sorted set."""
    takes: Grouped = {}
    for name, member in writes.unscores:
        takes.setdefault("scores:" + name, []).append(member)
    puts: Grouped = {}
    for (name, member), score in writes.scores.items():
        puts.setdefault("scores:" + name, []).extend((score, member))
    return takes, puts


def _counted(groups: Iterable[Sequence[Argument]]) -> Iterable[Argument]:
    """Yield each group behind the number of its arguments."""
    for group in groups:
        yield len(group)
        yield from group


def _by_field(whole: Sequence[bytes]) -> dict[str, bytes]:
    """Return what HGETALL tells by turns as a mapping."""
    return {field.decode(): value for field, value in zip(whole[::2], whole[1::2], strict=True)}


def escape(text: str) -> str:
    """Return the pattern that matches this text alone."""
    return "".join("\\" + sign if sign in "*?[]^\\" else sign for sign in text)
