"""Rows and scores as lines of JSON, and back."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from interaction_router.application.rowlines import Line, lines_of, take_line, writes_of
from interaction_router.application.views import HEAD
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Writes

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ['"', "\\", '","', '"],"value":', '\\"],"value":1}', "ü\n", HEAD, ""]
)
VALUES = st.recursive(st.none() | st.integers(-9, 9) | TEXTS, lambda inner: st.dictionaries(TEXTS, inner, max_size=3))


def spelt(writes: Writes) -> list[bytes]:
    return [orjson.dumps(line) for line in lines_of(writes.puts.items(), writes.scores.items())]


def parsed(lines: list[bytes]) -> Writes:
    into = Writes()
    for line in lines:
        found: Line = orjson.loads(line)
        take_line(found, into)
    return into


@given(
    st.dictionaries(st.builds(RowKey, TEXTS, TEXTS), VALUES, max_size=5),
    st.dictionaries(st.tuples(TEXTS, TEXTS), st.floats(allow_nan=False, allow_infinity=False), max_size=5),
)
def test_what_is_read_is_what_was_written(rows: dict[RowKey, object], scores: dict[tuple[str, str], float]) -> None:
    """Whatever names there are: also where a value is taken as it stands, and not parsed."""
    writes = Writes(puts={key: orjson.dumps(value) for key, value in rows.items()}, scores=scores)
    assert writes_of(spelt(writes)) == writes == parsed(spelt(writes))
