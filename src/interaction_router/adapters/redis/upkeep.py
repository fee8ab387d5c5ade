"""Redis tables as a whole: what is in them, and the one step that replaces a partition by its shadow."""

from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from itertools import chain
from typing import Any

from interaction_router.adapters import standing
from interaction_router.adapters.redis.client import Argument, RedisClient
from interaction_router.adapters.redis.tables import APPLIED, Grouped, key_prefix, keys_of
from interaction_router.domain.errors import FatalError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import LoadedScores, Names, shadow_of

SCORES = "scores:"
NAMED = 1000
"""Members that one ZSCAN looks at, and names in one part."""


class RedisUpkeep:
    """`ports.Upkeep` on Redis or Valkey."""

    def __init__(self, client: RedisClient, namespace: str) -> None:
        """Keep the client; keys begin with the namespace."""
        self._client = client
        self._namespace = namespace
        self._suspend = files(__package__).joinpath("suspend.lua").read_text(encoding="utf-8")
        self._flip = files(__package__).joinpath("flip.lua").read_text(encoding="utf-8")
        self._scores = files(__package__).joinpath("scores.lua").read_text(encoding="utf-8")

    async def names(self, partition: int) -> AsyncIterator[Names]:
        """Yield what a partition holds; SCAN looks at every key of the server for it."""
        prefix = self._prefix(partition)
        async for keys in self._keys(partition):
            kinds = await self._client.calls([(prefix, ["TYPE", key]) for key in keys])
            hashes = [key for key, kind in zip(keys, kinds, strict=True) if kind == b"hash"]
            fields = await self._client.calls([(prefix, ["HKEYS", key]) for key in hashes])
            rows = [
                RowKey(key.removeprefix(prefix), field.decode())
                for key, of_one in zip(hashes, fields, strict=True)
                for field in of_one
            ]
            for key, kind in zip(keys, kinds, strict=True):
                name = key.removeprefix(prefix)
                if kind == b"zset" and name.startswith(SCORES):
                    async for members in self._members(prefix, name.removeprefix(SCORES)):
                        yield Names((), members)
                elif kind not in {b"hash", b"none"}:
                    rows.append(RowKey(name))
            yield Names(rows, ())

    async def scores(self, partition: int, members: Sequence[tuple[str, str]]) -> LoadedScores:
        """Return the scores of members together with `applied`, all of one moment."""
        prefix = self._prefix(partition)
        grouped: Grouped = {}
        places: dict[str, list[int]] = {}
        for place, (name, member) in enumerate(members):
            grouped.setdefault(name, []).append(member)
            places.setdefault(name, []).append(place)
        keys = [prefix + APPLIED, *(f"{prefix}{SCORES}{name}" for name in grouped)]
        arguments = chain.from_iterable((len(of_one), *of_one) for of_one in grouped.values())
        applied, values = await self._client.call(prefix, "EVAL", self._scores, len(keys), *keys, *arguments)
        found: list[float | None] = [None] * len(members)
        for place, value in zip(chain.from_iterable(places.values()), values, strict=True):
            found[place] = None if value is None else float(value)
        return LoadedScores(standing.folded(standing.read(applied.decode())), found)

    async def suspend(self, partition: int, *, shadow_applied: int) -> None:
        """Let nobody load or apply until `flip`."""
        prefix, shadow = self._prefix(partition), self._prefix(shadow_of(partition))
        keys = (prefix + APPLIED, shadow + APPLIED)
        if not await self._client.call(prefix, "EVAL", self._suspend, len(keys), *keys, shadow_applied):
            raise self._missing(partition)

    async def flip(self, partition: int) -> None:
        """Replace a suspended partition by its shadow in one script call: about a microsecond a key.

        Since nobody can write a suspended partition, its keys are those that a scan has found.
        """
        prefix, shadow = self._prefix(partition), self._prefix(shadow_of(partition))
        standing = {key.removeprefix(prefix) async for keys in self._keys(partition) for key in keys}
        coming = {key.removeprefix(shadow) async for keys in self._keys(shadow_of(partition)) for key in keys}
        dropped = [prefix + name for name in standing - coming]
        moved = chain.from_iterable((shadow + name, prefix + name) for name in coming)
        keys: list[Argument] = [prefix + APPLIED, shadow + APPLIED, *dropped, *moved]
        reply: Any = await self._client.call(prefix, "EVAL", self._flip, len(keys), *keys, len(dropped))
        if reply == b"standing":
            raise FatalError("tables_standing", f"The tables of partition {partition} are in use.", _AGAIN)
        if reply == b"missing":
            raise self._missing(partition)

    def _missing(self, partition: int) -> FatalError:
        return FatalError("shadow_missing", f"There is nothing to put in place of partition {partition}.", _AGAIN)

    async def _keys(self, partition: int) -> AsyncIterator[list[str]]:
        """Yield what `keys_of` does, so many at a time as one round trip asks for."""
        prefix = self._prefix(partition)
        async for keys in keys_of(self._client, prefix):
            for start in range(0, len(keys), NAMED):
                yield keys[start : start + NAMED]

    async def _members(self, prefix: str, name: str) -> AsyncIterator[list[tuple[str, str]]]:
        """Yield the members of a sorted set, each with the set's name."""
        cursor: Argument = 0
        while True:
            cursor, found = await self._client.call(prefix, "ZSCAN", f"{prefix}{SCORES}{name}", cursor, "COUNT", NAMED)
            if found:
                yield [(name, member.decode()) for member, _ in found]
            if not int(cursor):
                break

    def _prefix(self, partition: int) -> str:
        return key_prefix(self._namespace, partition)


_AGAIN = "Another rebuild has been at it. See `interaction-router state verify`."
