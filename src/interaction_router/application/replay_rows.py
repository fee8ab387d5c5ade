"""The rows of a replay: all of them, in memory."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from interaction_router.domain.rows import Row, RowKey


class AllRows(Mapping[RowKey, Row | None]):
    """All rows of a partition: one that is not there is known not to be there."""

    def __init__(self) -> None:
        self._rows: dict[RowKey, Row] = {}
        self.fields: dict[str, dict[str, None]] = defaultdict(dict)

    def __getitem__(self, key: RowKey) -> Row | None:
        return self._rows.get(key)

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> Iterator[RowKey]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def change(self, changes: Mapping[RowKey, Row | None]) -> None:
        """Set rows; None takes one away."""
        for key, row in changes.items():
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row
            if key.field and row is None:
                self.fields[key.bucket].pop(key.field, None)
            elif key.field:
                self.fields[key.bucket][key.field] = None


class AllBuckets(Mapping[str, tuple[str, ...]]):
    """The fields of every bucket of a partition."""

    def __init__(self, rows: AllRows) -> None:
        self._rows = rows

    def __getitem__(self, bucket: str) -> tuple[str, ...]:
        return tuple(self._rows.fields.get(bucket, ()))

    def __contains__(self, bucket: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows.fields)

    def __len__(self) -> int:
        return len(self._rows.fields)
