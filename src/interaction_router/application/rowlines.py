"""What tables hold as lines of JSON: `row` or `score`, and its `value` (of the head, no JSON, its `text`)."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from interaction_router.application.views import HEAD
from interaction_router.domain.errors import FatalError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Writes

Line = dict[str, Any]  # Any: JSON

OTHER_FILE: Final = "Use a file that `interaction-router state export` has written to its end."


def read_lines(file: Iterable[bytes]) -> Iterator[Line]:
    """Yield the lines of a file.

    Raises:
        FatalError: one is no JSON object.
    """
    for number, text in enumerate(file, 1):
        try:
            line = orjson.loads(text)
        except orjson.JSONDecodeError:
            line = None
        if not isinstance(line, dict):
            raise FatalError("copy_unreadable", f"Line {number} is no JSON object.", OTHER_FILE)
        yield line


def lines_of(
    rows: Iterable[tuple[RowKey, bytes | None]], scores: Iterable[tuple[tuple[str, str], float | None]]
) -> Iterator[Line]:
    """Yield a line for each row and score that there is."""
    for key, value in rows:
        if value is None:
            continue
        if key.bucket == HEAD:
            yield {"row": [*key], "text": value.decode()}
        else:
            yield {"row": [*key], "value": orjson.Fragment(value)}
    for member, score in scores:
        if score is not None:
            yield {"score": [*member], "value": score}


def take_line(line: Line, into: Writes) -> None:
    """Add what a line says.

    Raises:
        FatalError: it says nothing of the kind.
    """
    try:
        if "row" in line:
            bucket, field = line["row"]
            text = line.get("text")
            into.puts[RowKey(bucket, field)] = orjson.dumps(line["value"]) if text is None else text.encode()
        else:
            name, member = line["score"]
            into.scores[name, member] = float(line["value"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FatalError("copy_unreadable", "A line of the copy is neither a row nor a score.", OTHER_FILE) from error
